"""The same commands with the lake on S3: the same bytes, and readable by the same readers."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.fs
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from simulation import Simulation, marketlake, simulated

SESSION = "2025-08-29"
BUCKET = "lake-of-a-test"
FILES = "**/data.parquet"
COMMANDS = (
    ("backfill", "--tables", "stock_bars,index_bars,treasury_yields,news", "--start", SESSION),
    ("discover", "--underlying", "SPY", "--session", SESSION),
    ("backfill", "--tables", "option_bars", "--tickers", "SPY,@chosen", "--start", SESSION),
    ("consolidate", "--underlying", "SPY", "--session", SESSION),
)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulated("synthetic", tmp_path_factory.mktemp("simulator"), "--session", SESSION) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def lakes(s3: str, vendor: Simulation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A lake on disk, and the objects of one on S3, filled by the same commands."""
    folder = tmp_path_factory.mktemp("lakes")
    keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "something", "AWS_DEFAULT_REGION": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=s3, aws_access_key_id="someone", aws_secret_access_key="something", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    state = {"XDG_STATE_HOME": str(folder / "state")}
    for env in (
        vendor.environment(folder / "lake", **state),
        vendor.environment(f"s3://{BUCKET}/spy", MARKETLAKE__LAKE__S3__ENDPOINT_URL=s3, **keys, **state),
    ):
        for command in COMMANDS:
            done = marketlake(*command, env=env)
            assert done.returncode == 0, done.stderr
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="spy/")
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    objects = {name.removeprefix("spy/"): client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}
    return folder / "lake", objects


@pytest.mark.timeout(300)
def test_raw_and_consolidated_have_the_same_bytes(lakes: tuple[Path, dict[str, bytes]]) -> None:
    lake, objects = lakes
    local = {
        str(path.relative_to(lake)): path.read_bytes()
        for layer in ("raw", "consolidated")
        for path in (lake / layer).rglob("*")
        if path.is_file()
    }

    assert local
    assert local == {name: data for name, data in objects.items() if name.split("/")[0] in {"raw", "consolidated"}}


def test_every_folder_opens_in_every_reader(lakes: tuple[Path, dict[str, bytes]], s3: str) -> None:
    lake, _ = lakes
    # A folder is what stands before the keys of its partitions: owner and session, a year, or nothing at all.
    folders = {path.relative_to(lake).as_posix().split("=")[0].rpartition("/")[0] for path in lake.glob(FILES)}
    folders = {folder for folder in folders if folder.split("/")[0] in {"raw", "consolidated"}}
    options = {
        "key": "someone", "secret": "something", "client_kwargs": {"endpoint_url": s3, "region_name": "us-east-1"}
    }  # fmt: skip
    remote = pyarrow.fs.S3FileSystem(
        access_key="someone", secret_key="something", endpoint_override=s3, region="us-east-1"
    )
    of_polars = {
        "aws_access_key_id": "someone", "aws_secret_access_key": "something", "aws_endpoint_url": s3,
        "aws_region": "us-east-1", "aws_allow_http": "true",
    }  # fmt: skip
    connection = duckdb.connect()
    connection.register_filesystem(s3fs.S3FileSystem(**options))
    assert {"raw/stocks/bars", "raw/reference/treasury_yields", "raw/options/bars"} <= folders
    assert len(folders) >= 7
    for folder in sorted(folders):
        here, there = f"{lake}/{folder}", f"s3://{BUCKET}/spy/{folder}"
        in_duckdb = "SELECT count(*) FROM read_parquet('{}/**/*.parquet', hive_partitioning=true)"
        counts = {
            "pandas": len(pd.read_parquet(here)),
            "pandas on S3": len(pd.read_parquet(there, storage_options=options)),
            "pyarrow": ds.dataset(here, partitioning="hive").count_rows(),
            "pyarrow on S3": ds.dataset(
                there.removeprefix("s3://"), filesystem=remote, partitioning="hive"
            ).count_rows(),
            "polars": pl.scan_parquet(here).collect().height,
            "polars on S3": pl.scan_parquet(f"{there}/{FILES}", storage_options=of_polars).collect().height,
            "duckdb": connection.sql(in_duckdb.format(here)).fetchall()[0][0],
            "duckdb on S3": connection.sql(in_duckdb.format(there)).fetchall()[0][0],
        }

        assert len(set(counts.values())) == 1, (folder, counts)
        assert counts["pandas"], folder


def test_wrong_credentials_are_one_clear_line(s3: str, vendor: Simulation, tmp_path: Path) -> None:
    env = vendor.environment(
        "s3://a-bucket-that-nobody-made/x",
        MARKETLAKE__LAKE__S3__ENDPOINT_URL=s3,
        AWS_ACCESS_KEY_ID="someone",
        AWS_SECRET_ACCESS_KEY="something",
        XDG_STATE_HOME=str(tmp_path),
    )
    done = marketlake("backfill", "--tables", "stock_bars", "--start", SESSION, env=env)

    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "a-bucket-that-nobody-made" in done.stderr
