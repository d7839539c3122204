"""Each script of bench/ runs and prints the figures that it promises; nothing is timed.

Those that start mail servers of their own or fill large ones wait for `make soak`: what they
measure is proved elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import SOAK
from tests.servers import REPOSITORY

pytestmark = pytest.mark.servers

FIGURES = {
    "apply": {
        "apply_1_at_1k": "ms",
        "apply_1_at_1m": "ms",
        "apply_1_ratio": "",
        "apply_1000_at_1m": "ms",
        "apply_10k": "s",
    },
    "archive": {
        "archive_rate": "MB/s",
        "archive_vs_gzip": "",
        "archive_size_vs_gzip": "",
        "archive_peak_2gb": "MiB",
    },
    "bulk": {
        "import_10k_check_cpu": "s",
        "import_10k_check": "s",
        "import_10k_cpu": "s",
        "import_10k": "s",
        "import_row": "ms",
        "import_row_hash": "ms",
        "import_row_vs_modoboa": "",
        "import_forwards_10k_check_cpu": "s",
        "import_forwards_10k_check": "s",
        "import_forwards_10k_cpu": "s",
        "import_forwards_10k": "s",
        "import_forwards_row": "ms",
        "history_page_100k": "ms",
        "history_page_100k_p95": "ms",
    },
    "panel": {
        "list_50_at_10": "ms",
        "list_50_at_10_p95": "ms",
        "list_50_at_1k": "ms",
        "list_50_at_10k": "ms",
        "list_50_at_10k_p95": "ms",
        "list_queries_at_10k": "queries",
        "create_account": "ms",
        "web_worker_rss": "MiB",
    },
    "policy": {
        "policy_decisions": "/s",
        "policy_p99": "ms",
        "policy_vs_bare": "",
        "postfix_with_policy": "",
    },
    "overquota": {
        "overquota_find_1m": "ms",
        "overquota_doveadm": "ms a mailbox",
        "overquota_count": "ms a mailbox",
        "overquota_vs_doveadm": "",
    },
    "remotemail": {
        "remote_list_10k": "ms",
        "remote_list_10k_p95": "ms",
        "remote_by_size_10k": "ms",
        "remote_search_10k": "ms",
        "remote_message": "ms",
        "remote_delete_100": "s",
    },
    "customer": {
        "address_map_depth_10": "ms",
        "address_map_depth_10_p95": "ms",
        "event_cost": "us",
        "collect_cost": "us",
        "diagnose": "ms",
        "diagnose_p95": "ms",
        "import_10k": "s",
        "import_row": "ms",
        "import_row_vs_modoboa": "",
    },
    "passwords": {
        "verify_sha512_10000": "/s",
        "make_sha512_10000": "ms",
        "polling_10k_sha512_10000": "% of two cores",
        "verify_blf_10": "/s",
    },
}


# It alone proves something that no other test does: how many queries a long list needs.
QUICK = ("panel",)


@pytest.mark.soak
@pytest.mark.parametrize("script", FIGURES if SOAK else QUICK)
def test_script_prints_its_figures(script: str) -> None:
    command = [sys.executable, "-m", f"bench.{script}", "--quick"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = re.findall(r"^(\w+): -?[0-9.]+ ?(.*)$", run.stdout, re.MULTILINE)
    assert len(lines) == len(run.stdout.splitlines())
    assert dict(lines).items() >= FIGURES[script].items()
    if script == "panel":
        assert int(re.findall(r"list_queries_at_10k: (\d+)", run.stdout)[0]) <= 8
