"""The lowest versions that pyproject.toml allows, as constraints: `name>=1.2,<2` becomes `name==1.2`."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"]:
    found = re.fullmatch(r"([\w-]+)>=([\w.]+)(,<[\w.]+)?", requirement)
    if found is None:
        raise SystemExit(f"{requirement} does not say what its lowest version is")
    print(f"{found[1]}=={found[2]}")
