"""Where the lake is, and as whom it is written. What stands in it is :mod:`marketlake.lake`'s."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from blocks.saved import QuietBlock, saved
from marketlake import lake
from marketlake.logs import protect
from marketlake.settings import LakeSettings, Settings
from marketlake.settings_grammar import Address, LakeRoot, Region
from marketlake.store import S3Options, open_store


class Lake(QuietBlock):
    """A folder, or a bucket on S3.

    Example:
        Load the stored lake:
        ```python
        from blocks.lake import Lake

        lake = Lake.load("BLOCK_NAME").open()
        ```
    """

    _block_type_name = "Market Data Lake"
    _block_type_slug = "market-data-lake"
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]

    root: LakeRoot = Field(title="Root", description="Folder, or s3://bucket/prefix.")
    endpoint_url: Address | None = Field(
        default=None, title="S3 address", description="Address of an S3-compatible service; AWS when empty."
    )
    region: Region | None = Field(
        default=None, title="S3 region", description="Region of the bucket; what the machine says when empty."
    )
    access_key: SecretStr | None = Field(
        default=None,
        title="S3 access key",
        description="Access key; botocore's own chain (environment, profile, role) when empty.",
    )
    secret_key: SecretStr | None = Field(default=None, title="S3 secret key", description="Secret of the access key.")
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None,
        title="S3 encryption",
        description="Encryption that every object is written with; the bucket's own rule when empty.",
    )

    @model_validator(mode="after")
    def _key_with_secret(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            message = "an access key and its secret key are given together"
            raise ValueError(message)
        return self

    @classmethod
    def of_settings(cls, settings: LakeSettings) -> Self:
        """The lake that the settings name, with the machine's own credentials."""
        return cls(root=settings.root, **settings.s3.model_dump())

    def environment(self) -> dict[str, str]:
        """The variables by which a process of its own finds the same lake.

        What the block leaves out is empty, so that no setting of that process takes its place.
        """
        given = {
            "MARKETLAKE_LAKE": self.root,
            "MARKETLAKE__LAKE__S3__ENDPOINT_URL": self.endpoint_url or "",
            "MARKETLAKE__LAKE__S3__REGION": self.region or "",
            "MARKETLAKE__LAKE__S3__SERVER_SIDE_ENCRYPTION": self.server_side_encryption or "",
        }
        if self.access_key is not None and self.secret_key is not None:
            given["AWS_ACCESS_KEY_ID"] = self.access_key.get_secret_value()
            given["AWS_SECRET_ACCESS_KEY"] = self.secret_key.get_secret_value()
        return given

    def open(self) -> lake.Lake:
        """The lake, ready to read and write; nothing is asked of it yet."""
        protect([key.get_secret_value() for key in (self.access_key, self.secret_key) if key is not None])
        options = S3Options(
            self.endpoint_url, self.region, self.access_key, self.secret_key, self.server_side_encryption
        )
        return lake.Lake(open_store(self.root, options))


def open_lake(settings: Settings) -> lake.Lake:
    """The lake of the saved block, else that of the settings (MARKETLAKE_LAKE above them)."""
    return lake_block(settings).open()


def lake_block(settings: Settings) -> Lake:
    """The saved block, else what the settings say, as a block."""
    return saved(Lake) or Lake.of_settings(settings.lake)
