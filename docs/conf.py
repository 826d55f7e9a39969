"""Sphinx's settings: `sphinx-build -W --keep-going docs docs/_build/html`.

The pages read offline and look like the report.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # the extensions; the analyses, which are run from the repository

import elutheory  # noqa: E402 (found on the path above)

project = "elutheory"
author = "The elutheory authors"
project_copyright = "the elutheory authors"
release = version = elutheory.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "extensions.benchmark_tables",
    "extensions.derivation_pages",
    "extensions.docstrings",
    "extensions.mathml",
    "extensions.public_names",
    "extensions.theory_links",
]
exclude_patterns = ["_build", "theme", "extensions"]
templates_path: list[str] = []

# --- text ---
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
default_role = "code"
smartquotes = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
viewcode_line_numbers = True

# --- tutorials: the examples, run ---
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
    "only_warn_on_example_error": True,  # with -W that is an error, after the other examples have run
    "write_computation_times": False,  # that page loads scripts from outside
    "junit": "examples.xml",
    "remove_config_comments": True,
    "show_signature": False,
    "download_all_examples": False,
    "copyfile_regex": "",
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
}

# --- look ---
html_theme = "theme"
html_theme_path = ["."]
html_title = "elutheory"
html_static_path = ["../analyses/report/page.css"]  # the report's style sheet is the pages' own
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # summaries are fetched, which a browser refuses for files
html_domain_indices = False
pygments_style = "default"

# --- links out, for `sphinx-build -b linkcheck`: asked for by hand, as it needs the network ---
linkcheck_anchors = False
linkcheck_timeout = 20
