"""Who we are at Polygon.io (now Massive). How it is asked is :mod:`marketlake.rest`'s."""

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SecretStr

from blocks.saved import QuietBlock, saved
from marketlake.errors import ConfigurationError
from marketlake.logs import protect
from marketlake.settings import Plan, VendorSettings
from marketlake.settings_grammar import Address, StreamAddress

VARIABLE: Final = "POLYGON_API_KEY"


class PolygonCredentials(QuietBlock):
    """The vendor's key, and where and under which plan it is used.

    Example:
        Load the stored credentials:
        ```python
        from blocks.polygon import PolygonCredentials

        credentials = PolygonCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Polygon Credentials"
    _block_type_slug = "polygon-credentials"
    _documentation_url = "https://massive.com/docs/rest/quickstart"  # type: ignore[assignment]

    api_key: SecretStr = Field(min_length=1, title="API key", description="Key of the vendor's account.")
    rest_url: Address | None = Field(
        default=None, title="REST address", description="Address of the REST service, when not the configured one."
    )
    ws_url: StreamAddress | None = Field(
        default=None, title="Stream address", description="Address of the stream, when not the configured one."
    )
    plan: Plan | None = Field(default=None, title="Plan", description="Plan of the key, when not the configured one.")

    def environment(self, configured: VendorSettings) -> dict[str, str]:
        """The variables by which a process of its own asks the same vendor with the same key."""
        given = self.vendor_settings(configured)
        return {
            VARIABLE: self.api_key.get_secret_value(),
            "MARKETLAKE_REST_URL": given.rest_url,
            "MARKETLAKE_WS_URL": given.ws_url,
            "MARKETLAKE__VENDOR__PLAN": given.plan,
            "MARKETLAKE__VENDOR__DELAY_MINUTES": str(given.delay_minutes),
        }

    def vendor_settings(self, configured: VendorSettings) -> VendorSettings:
        """The configured settings with what this block says in their place.

        What was left to follow from the plan (calls, delay, stream address) follows from the block's plan.
        """
        own = {"rest_url": self.rest_url, "ws_url": self.ws_url, "plan": self.plan}
        given = {name: getattr(configured, name) for name in configured.model_fields_set}
        return VendorSettings(**given | {name: value for name, value in own.items() if value is not None})


def polygon_credentials(environ: Mapping[str, str]) -> PolygonCredentials:
    """The saved credentials, else those of the environment.

    Raises:
        ConfigurationError: there is neither.
    """
    block = saved(PolygonCredentials)
    if block is not None:
        protect([block.api_key.get_secret_value()])
        return block
    key = environ.get(VARIABLE, "").strip()
    if not key:
        problem = "no key is set: set it, or save a PolygonCredentials block named default"
        raise ConfigurationError("environment", VARIABLE, problem)
    protect([key])
    return PolygonCredentials(api_key=SecretStr(key))
