"""Metrics: what requests come to, what Prometheus makes of them, the alert rules and the dashboard."""
import json
import re
import subprocess

import nbd

from nearblock_tests.monitoring import samples
from nearblock_tests.monitoring.prometheus import RULES, Prometheus
from nearblock_tests.monitoring.samples import value
from nearblock_tests.monitoring.scene import DISKS, ODD_NAME, Failure, Scene, check, get
from nearblock_tests.repository import SCRIPTS, SYSTEM

DASHBOARD = SCRIPTS / "monitoring/dashboard.json"
# Names in an expression of Prometheus'.
METRIC = re.compile(r"\b((?:nearblock|process)_\w+)")


def promtool(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)
    if done.returncode or (text is not None and done.stdout + done.stderr):
        raise Failure(f"promtool {' '.join(arguments[:2])}: {done.stdout}{done.stderr}")


def rules(_: Scene) -> str:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(SYSTEM / "monitoring/alerts_test.yml"))
    return "checked and tested"


def expressions() -> list[str]:
    """All of the dashboard and the rules, with the variables of the dashboard in place."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    check(len(found) > 20, f"the dashboard has {len(found)} expressions")
    variables = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    found += [re.sub(r"label_values\((.*), \w+\)", r"\1", query) for query in variables]
    for name, text in (("$instance", ".*"), ("$export", ".*"), ("$__rate_interval", "1m")):
        found = [expression.replace(name, text) for expression in found]
    return found


def counts(scene: Scene) -> str:
    """Exactly what one client does is counted, and nothing else."""
    before = samples.parse(scene.text("source"))
    client = nbd.NBD()
    client.set_strict_mode(0)
    client.connect_uri(scene.uri("one"))
    labels = {"export": "one"}
    check(value(samples.parse(scene.text("source")), "nearblock_export_clients", **labels) == 1, "no client is counted")
    for number in range(100):
        client.pread(4096, 4096 * number)
    for number in range(30):
        client.pwrite(bytes(8192), 8192 * number)
    client.pread(20 * 1024 * 1024, 0)
    for _ in range(3):
        client.flush()
    try:
        client.pread(4096, scene.sizes["one"])
        raise Failure("a read behind the end succeeds")
    except nbd.Error:
        pass
    after = samples.parse(scene.text("source"))
    expected = {
        ("nearblock_requests_total", "read"): 102, ("nearblock_requests_total", "write"): 30,
        ("nearblock_requests_total", "flush"): 3, ("nearblock_request_bytes_total", "read"): 100 * 4096 + (20 << 20),
        ("nearblock_request_bytes_total", "write"): 30 * 8192, ("nearblock_request_errors_total", "read"): 1,
        ("nearblock_request_errors_total", "write"): 0, ("nearblock_request_duration_seconds_count", "read"): 102}
    for (name, command), number in expected.items():
        seen = value(after, name, command=command, **labels) - value(before, name, command=command, **labels)
        check(seen == number, f"{name} of {command}: {seen}, not {number}")
    seconds = value(after, "nearblock_request_duration_seconds_sum", command="read", **labels)
    check(0 < seconds < 10, f"the reads took {seconds} s")
    client.shutdown()
    check(value(after, "nearblock_export_size_bytes", export=ODD_NAME) == 1 << 20, "the odd name is garbled")
    return "every request once"


def failures(scene: Scene) -> str:
    """Requests that the storage fails."""
    client = nbd.NBD()
    client.connect_uri(scene.uri("faulty"))
    for _ in range(3):
        try:
            client.pwrite(bytes(4096), 0)
            raise Failure("a write to faulty storage succeeds")
        except nbd.Error:
            pass
    client.shutdown()
    seen = value(samples.parse(scene.text("source")), "nearblock_device_errors_total", export="faulty", command="write",
                 error="ENOSPC")
    check(seen == 3, f"{seen} failures are counted, not 3")
    return "counted"


def refusals(scene: Scene) -> str:
    """Foreign hosts, other paths and methods."""
    port = scene.metrics["source"]
    check(get(port, "/metrics", "evil.example")[0] == 421, "a foreign Host is answered")
    check(get(port, "/metrics", f"localhost:{port}")[0] == 200, "localhost is not answered")
    check(get(port, "/")[0] == 404, "another path is answered")
    check(get(scene.web["source"], "/", "evil.example")[0] == 421, "the page answers a foreign Host")
    return "as they should be"


def form(scene: Scene) -> set[str]:
    """Checks the text of both nodes; returns the names of all metrics."""
    found: set[str] = set()
    for name in scene.nodes:
        text = scene.text(name)
        promtool("check", "metrics", text=text)
        found |= samples.names(samples.parse(text))
    return found


def after_move(scene: Scene, prometheus: Prometheus, known: set[str]) -> str:
    """What Prometheus has seen of the migration, and whether the files name only what there is."""
    text = samples.parse(scene.text("source"))
    for name in DISKS:
        parts = {source: value(text, "nearblock_last_migration_bytes", export=name, source=source)
                 for source in ("zero", "present", "repeated", "neighbour", "link")}
        check(sum(parts.values()) >= scene.sizes[name], f"the ledger of {name} is short: {parts}")
        for source in ("zero", "neighbour", "link"):
            check(parts[source] > 0, f"{name} has no bytes of '{source}': {parts}")
        check(value(text, "nearblock_last_migration_downtime_seconds", export=name) > 0, f"{name}: no downtime")
    check(value(text, "nearblock_migrations_total", result="moved") == len(DISKS), "migrations are not counted")
    check(value(text, "nearblock_migration_downtime_seconds_count") == len(DISKS), "downtimes are not counted")
    there = samples.parse(scene.text("destination"))
    check(value(there, "nearblock_index_hits_total") > 0 and value(there, "nearblock_index_neighbours") == 1,
          "the index has no hits")
    check(value(there, "nearblock_site_hosts", state="alive") == 1
          and value(there, "nearblock_site_published_tables") == 1
          and 0 <= value(there, "nearblock_site_refresh_age_seconds") < 60, "the site is not measured")
    check(value(there, "nearblock_certificate_expiry_timestamp_seconds", use="peer-server", certificate="own") > 1e9,
          "no certificate expires")
    seen = {labels["export"] for labels, _ in prometheus.query(
        'max_over_time(nearblock_migration_phase{instance="source", phase="copying"}[5m]) == 1')}
    check(seen == set(DISKS), f"Prometheus has seen {seen} move")
    for expression, complaint in (("min_over_time(up[5m]) < 1", "a scrape failed"),
                                  ("resets(nearblock_requests_total[5m]) > 0", "a counter went back")):
        check(not prometheus.query(expression), f"{complaint}: {prometheus.query(expression)}")
    groups = prometheus.ask("rules")["groups"]
    unhealthy = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]
    check(bool(groups) and not unhealthy, f"rules that Prometheus can't evaluate: {unhealthy}")
    wanted = {name for text in (*expressions(), RULES.read_text()) for name in METRIC.findall(text)}
    check(wanted <= known, f"the dashboard or the rules name {sorted(wanted - known)}, which no node has")
    for expression in expressions():
        prometheus.query(expression)
    longest = max(seconds for _, seconds in prometheus.query("max_over_time(scrape_duration_seconds[5m])"))
    return f"{len(known)} names, {len(expressions())} expressions, longest scrape {longest:.3f} s"
