# The commands of this project; `make help` lists them. Settings: .env.example.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
CATALOGUES := $(wildcard locale/*/LC_MESSAGES/django.po)
# Exit status 5 is pytest's "no such test", which is no failure of a part of the suite.
PYTEST = t() { $(BIN)/pytest "$$@" || [ $$? -eq 5 ]; }; t
UNITS := not servers and not browser and not soak
# Tests of real servers wait as much as they work. One that fails is run once more, and both are
# told of: what a machine short of time does to real servers is no fault of theirs.
SERVING := 4
# `make check` leaves out what takes long; `make test` empties this.
QUICK := and not long

.PHONY: run test check code units soak screenshots bench clean fmt lock messages help compiled packages-run packages-test venv-dev

# tests/settings.py needs nothing from the environment; plusmail/settings.py wants a secret key.
check test soak screenshots messages: export DJANGO_SETTINGS_MODULE := tests.settings
# Kept for the other processes, or each would rewrite the assertions of all tests (10 s).
check test soak: export PYTHONDONTWRITEBYTECODE :=
soak: export PLUSMAIL_SOAK := 1
screenshots: export PICTURES := docs/pictures
screenshots: export PICTURES_OF := offer email_forwarding mailboxes sending why-refused mailbox_home csv_import
bench: export SECRET_KEY := for measuring only, never for a server
bench: export IGNORE_DOTENV := 1
bench: export DJANGO_SETTINGS_MODULE := plusmail.settings

run: ## Install what is missing, then start everything in the foreground with demo data
	@deploy/install-packages run || echo "run: going on with what is there."
	@deploy/venv base
	@$(MAKE) --no-print-directory compiled
	@exec $(BIN)/python -m standalone

test: packages-test ## Set up what the tests need, then run all of them
	@$(MAKE) --no-print-directory check QUICK=
	$(BIN)/python -m tests.postgres $(BIN)/pytest -n 3 --randomly-seed=1 -m "$(UNITS) and not long" \
		--ignore tests/setup --ignore tests/mailhost --ignore tests/contracts
	$(PYTEST) -n $(SERVING) --dist loadfile --no-loadscope-reorder --randomly-seed=1 \
		--reruns 1 -rfER -m "servers or browser or soak"

check: venv-dev compiled ## The fast part: linters, types, imports, migrations, unit tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target code units

# Side by side: mypy with nothing remembered takes half a minute of one processor.
code:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	git ls-files -z 'templates/*.html' | xargs -0r $(BIN)/djade --check --target-version 5.2
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run

units:
	$(PYTEST) -n 3 --randomly-seed=1 -m "$(UNITS) $(QUICK)"

soak: packages-test venv-dev compiled ## Run the proofs with big counts in full
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m soak --timeout=7200

screenshots: packages-test venv-dev compiled ## Take the pictures of docs/ anew
	$(PYTEST) -n 2 tests/browser/test_pages.py tests/browser/test_pages_in_english.py

bench: venv-dev compiled ## Measure; ONLY=name runs bench/name.py alone
	@deploy/bench $(ONLY)

clean: ## Remove .venv, the data of `make run` and every cache
	@python3 -B -m standalone clean
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

fmt: venv-dev ## Format the code and the templates
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	git ls-files -z 'templates/*.html' | xargs -0r $(BIN)/djade --target-version 5.2

lock: ## Renew requirements/*.txt from *.in with the newest versions (needs uv)
	@deploy/lock

messages: venv-dev ## Collect the texts to translate into locale/*.po
	$(BIN)/python manage.py makemessages --all --no-wrap --add-location file --ignore .venv --ignore var
	@$(MAKE) --no-print-directory compiled

help: ## List these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

compiled: $(CATALOGUES:.po=.mo)

%.mo: %.po
	@if command -v msgfmt >/dev/null; then msgfmt -o $@ $<; else echo "run: no msgfmt (gettext): $< stays uncompiled."; fi

packages-test:
	@deploy/install-packages run test

venv-dev:
	@deploy/venv dev
