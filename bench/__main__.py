"""`make bench`: run every comparison, print it, and write bench/latest.json."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import align, rate_limit, rest_decode, stream

BENCHMARKS = {
    "rest_decode": rest_decode.run,
    "align": align.run,
    "rate_limit": rate_limit.run,
    "stream_equal_product": stream.equal_product,
    "stream_capture": stream.capture,
    "stream_p99_20k": stream.p99,
    "stream_p99_20k_without_collector": stream.p99_without_collector,
}


def main() -> None:
    results = {name: run().as_json() for name, run in BENCHMARKS.items()}
    Path(__file__).with_name("latest.json").write_text(json.dumps(results, indent=2) + "\n")
    table = Table("benchmark", "ours, ms", "peer, ms", "ratio", "goal", "goal is")
    for name, found in results.items():
        row = (found["ours"] * 1e3, found["peer"] * 1e3, found["ratio"], found["goal"])
        is_met = found["ratio"] >= found["goal"]
        table.add_row(name, *(f"{value:,.2f}" for value in row), "met" if is_met else "[bold red]MISSED[/]")
    Console().print(table)


if __name__ == "__main__":
    main()
