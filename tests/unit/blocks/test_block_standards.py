"""Our blocks keep to what Prefect asks of every block."""

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite

import blocks

BLOCKS = [getattr(blocks, name) for name in blocks.__all__]


@pytest.mark.parametrize("block", BLOCKS)
class TestBlocks(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        kind: type[Block] = request.param
        return kind

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Prefect's own test fetches the image from outside; without one the UI shows its own."""
        assert block._logo_url is None

    def test_all_fields_have_a_title(self, block: type[Block]) -> None:
        """The UI would show the name of the field."""
        assert all(field.title for field in block.model_fields.values())
