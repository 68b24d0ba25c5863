"""How the documentation is built: ``sphinx-build -W docs build/docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reference_pages import write_all

project = "rollbackd"
author = "the rollbackd developers"
project_copyright = "the rollbackd developers, Apache-2.0"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "linkify"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
html_theme = "furo"
html_title = "rollbackd"
html_copy_source = False
nitpicky = True

write_all(Path(__file__).parent / "reference")
