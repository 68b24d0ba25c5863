"""What the documentation tells people to put into values.yaml is rendered, and the daemon takes it."""

from pathlib import Path

import pytest

from rollbackd.config import load
from tests.docs.blocks import Block, Kind, blocks
from tests.helm.helm_program import Helm

pytestmark = pytest.mark.servers

SHOWN = [pytest.param(b, id=b.name) for b in blocks() if b.kind is Kind.VALUES]


@pytest.mark.parametrize("block", SHOWN)
def test_values_that_are_shown_make_a_release(block: Block, helm4: Helm, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(block.text, encoding="utf-8")
    manifests = helm4.manifests("--values", str(values))
    file = tmp_path / "rollbackd.yaml"
    file.write_text(
        next(
            m["data"][file.name]
            for m in manifests
            if m["kind"] == "ConfigMap" and file.name in m["data"]
        ),
        encoding="utf-8",
    )
    assert load(file).policies
