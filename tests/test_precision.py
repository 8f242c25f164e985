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


def test_int16(monkeypatch):
    from photoglue import precision
    from photoglue.errors import ConfigError

    monkeypatch.setattr(precision, "int16_supported", lambda: True)
    assert choose("int16") == torch.int16
    with pytest.raises(ConfigError, match=r'"int16" is for CPUs; the device is \'cuda\'. Use "auto"'):
        choose("int16", "cuda")
    monkeypatch.setattr(precision, "int16_supported", lambda: False)
    monkeypatch.setattr(precision, "absence", lambda: "Nobody built it.")
    with pytest.raises(ConfigError, match=r'is "int16"\. Nobody built it\. precision="float32" works everywhere'):
        choose("int16")
    monkeypatch.setattr(precision, "absence", lambda: None)
    with pytest.raises(ConfigError, match="needs AVX2 or better"):
        choose("int16")


def test_unknown(as_a_user):
    from photoglue.errors import ConfigError

    with pytest.raises(ConfigError, match="precision is 'half'; it must be one of auto, float32"):
        choose("half")


def test_device(monkeypatch):
    from photoglue.precision import choose_device

    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    for there, wanted in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device(None) == torch.device(wanted)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "cpu:x"])
def test_device_that_cannot_be_used(device):
    from photoglue.errors import ConfigError
    from photoglue.precision import choose_device

    with pytest.raises(ConfigError, match=f"The device '{device}' cannot be used here: .*Use 'cpu'"):
        choose_device(device)


def test_autocast_is_switched_off_inside():
    from photoglue.precision import without_autocast

    a = torch.rand(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with without_autocast(a.device):
            assert (a @ a).dtype == torch.float32


def test_converted_weights():
    from photoglue.errors import ConfigError
    from photoglue.precision import require_float32

    require_float32(torch.nn.Identity())
    require_float32(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"The weights are torch\.float16; .*Use \.float\(\)"):
        require_float32(torch.nn.Linear(2, 2).half())
