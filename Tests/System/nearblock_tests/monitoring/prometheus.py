"""A real Prometheus that scrapes nodes."""
import json
import subprocess
from collections.abc import Mapping
from typing import Any

from nearblock_tests.monitoring.scene import Failure, fetch, wait_until
from nearblock_tests.nodes import free_port
from nearblock_tests.repository import SCRIPTS

RULES = SCRIPTS / "monitoring/alerts.yml"


class Prometheus:
    """Scrapes every two seconds, and evaluates the alert rules."""

    def __init__(self, folder: str, targets: Mapping[str, int]) -> None:
        self.port = free_port()
        configuration = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{
                "job_name": "nearblock",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
                                   for name, port in targets.items()]}]}
        with open(f"{folder}/prometheus.yml", "w") as file:
            # JSON is YAML.
            json.dump(configuration, file)
        self.log = open(f"{folder}/prometheus.log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log)
        wait_until("Prometheus is ready", self.is_ready)
        wait_until("Prometheus has scraped", lambda: len(self.query("up == 1")) == len(targets))

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise Failure("Prometheus does not start; see prometheus.log")
        try:
            return b"Ready" in fetch(f"http://127.0.0.1:{self.port}/-/ready")
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        answer = json.loads(fetch(f"http://127.0.0.1:{self.port}/api/v1/{path}", **parameters))
        if answer["status"] != "success":
            raise Failure(f"Prometheus: {answer}")
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each series."""
        return [(each["metric"], float(each["value"][1])) for each in self.ask("query", query=expression)["result"]]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()
