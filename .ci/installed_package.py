"""Asked of an installed package, outside of the checkout: all public names load; typing, stub and schema are there."""

from importlib.metadata import distribution
from importlib.resources import files

import elutheory

package = files("elutheory")
place = str(package)
if "site-packages" not in place:
    raise SystemExit(f"elutheory is not the installed one but {place}")
for name in ("py.typed", "__init__.pyi", "bias_shift.schema.json"):
    if not package.joinpath(name).is_file():
        raise SystemExit(f"{name} is not installed")
for name in elutheory.__all__:
    getattr(elutheory, name)
if distribution("elutheory").version != elutheory.__version__:
    raise SystemExit("the version of the distribution is not elutheory.__version__")
installed = {str(file).partition("/")[0] for file in distribution("elutheory").files or ()}
if other := {name for name in installed if not name.startswith(("elutheory", "..", "__pycache__"))}:
    raise SystemExit(f"the wheel brings more than the package: {sorted(other)}")
print(f"elutheory {elutheory.__version__}: {len(elutheory.__all__)} public names, typing, stub and schema")
