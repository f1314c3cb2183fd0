"""Tests with files in a bucket: only `make test-bucket` runs them, since they need packages of their own."""

import os

if not os.environ.get("NEUROHORIZON_BUCKET"):
    collect_ignore_glob = ["test_*.py"]
