import pytest
import torch


def choose(precision, device="cpu"):
    from photoglue.precision import choose_precision

    return choose_precision(precision, torch.device(device))


def test_explicit_values_win():
    assert choose("float32") == torch.float32
    assert choose("bfloat16", "cuda") == torch.bfloat16
    assert choose("float16") == torch.float16


@pytest.mark.parametrize(("amx", "avx512", "wanted"), [(0, 0, "float32"), (1, 0, "bfloat16"), (0, 1, "bfloat16")])
def test_auto_on_a_cpu(monkeypatch, amx, avx512, wanted):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx512))
    assert choose("auto") == getattr(torch, wanted)


@pytest.mark.parametrize(("capability", "wanted"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16")])
def test_auto_on_cuda(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose("auto", "cuda") == getattr(torch, wanted)


def test_auto_elsewhere():
    assert choose("auto", "mps") == torch.float32


def test_unknown(as_a_user):
    from photoglue.errors import ConfigError

    with pytest.raises(ConfigError, match="precision is 'half'; it must be one of auto, float32"):
        choose("half")
