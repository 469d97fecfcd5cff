"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from robin_etl import __version__

project = "robin-etl"
author = "the robin-etl authors"
release = __version__
extensions = ["myst_parser", "sphinx_click", "reference_pages"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "robin-etl"
exclude_patterns = ["_build"]
# A page is read without a network as well.
html_theme_options = {"sidebar_hide_name": False}
nitpicky = True
# A command must stay what can be typed.
smartquotes = False
