"""The dashboards as code. `scripts/generate_dashboards.py` writes them to `config/grafana/dashboards`."""

import warnings
from importlib import import_module

# The kit says at import that it would rather have its second model, which no Grafana before version 12 can read.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    for _name in ("dashboard", "prometheus"):
        import_module(f"grafana_foundation_sdk.builders.{_name}")
