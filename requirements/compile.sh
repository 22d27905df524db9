#!/usr/bin/env bash
# Writes the pins, with hashes and without addresses. Run through `make pins`.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
packages=(packages/*/pyproject.toml)
ours=()
for file in "${packages[@]}"; do
  ours+=(--no-emit-package "$(sed -n 's/^name = "\(.*\)"/\1/p' "$file")")
done
compile() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header "${ours[@]}" "$@"
}
compile --group pyproject.toml:run --no-deps -o requirements/bootstrap.txt
compile "${packages[@]}" --group pyproject.toml:run -o requirements/run.txt
compile "${packages[@]}" --group pyproject.toml:run --group pyproject.toml:test \
  --group pyproject.toml:check --group pyproject.toml:docs -o requirements/dev.txt
