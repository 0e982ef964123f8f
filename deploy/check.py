"""The checks of deploy/check.sh that no other tool can do: of the dashboard, the rules and the runbook.

`expressions` prints each query of the dashboard as a recording rule, and `states` prints tests of the sentence at its top. Both are
for promtool. `links` checks that links work, that the runbook explains everything that it should, and that docs/metrics.md lists
each metric in use.
"""

import json
import pathlib
import re
import sys

RULES = pathlib.Path("deploy/prometheus/rules.yml").read_text()
RUNBOOK = pathlib.Path("docs/runbook.md").read_text()
DASHBOARD = json.loads(pathlib.Path("deploy/grafana/dashboards/cvsync.json").read_text())
METRICS = pathlib.Path("docs/metrics.md")

# The one setting of the runbook's address, and what each alert links to.
RUNBOOK_SETTING = r'- record: cvsync:runbook\n +expr: vector\(1\)\n +labels: \{ url: "https://[^"]+" \}\n'
LINK = '{{ query "cvsync:runbook" | first | label "url" }}'

QUERIES = [
    (panel["title"], target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]


def expressions():
    """Prints the queries as JSON, which is also YAML."""
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, (_, query) in enumerate(QUERIES)
    ]
    print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}, indent=1))


LAG = 'cvsync_source_lag_seconds{stream="kandidaten"}'
SYNCED = 'cvsync_last_success_timestamp_seconds{job="sync"}'
PARKED = "cvsync_parked_oldest_age_seconds"
HEALTHY = {
    "cvsync_ready": 1,
    "cvsync_paused": 0,
    "cvsync_leader": 1,
    LAG: 370,
    SYNCED: 1000,
    'cvsync_schedule_interval_seconds{job="sync"}': 300,
    "cvsync_settle_lag_seconds": 60,
    "cvsync_deletes_withheld": 0,
    PARKED: 3600,
}
STATES = [
    ({}, "In step with VDAB"),
    ({"cvsync_ready": 0}, "Not ready: the database is unreachable, or VDAB refuses the key"),
    ({"cvsync_paused": 1, LAG: 9000}, "Paused by a person"),
    ({"cvsync_leader": 0}, "No instance leads, so nothing is synced"),
    ({LAG: 1021}, "Behind VDAB"),
    ({"cvsync_deletes_withheld": 9}, "In step, but deletes wait for a decision"),
    ({PARKED: 90000}, "In step, but a CV has been parked for over a day"),
    ({SYNCED: "_", LAG: 300000000}, "The first sync has not finished"),
]


def states():
    panel = DASHBOARD["panels"][0]
    sentences = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    numbers = {option["text"]: int(number) for number, option in sentences.items()}
    tests = []
    for differs, sentence in STATES:
        held = [{"series": name, "values": f"{value}"} for name, value in {**HEALTHY, **differs}.items()]
        sample = {"labels": "{}", "value": numbers.pop(sentence)}
        query = {"expr": panel["targets"][0]["expr"], "eval_time": "0m", "exp_samples": [sample]}
        tests.append({"name": sentence, "interval": "1m", "input_series": held, "promql_expr_test": [query]})
    print(json.dumps({"tests": tests}, indent=1))
    return f"never shown: {', '.join(numbers)}" if numbers else 0


def anchors(markdown):
    """The anchors of headings, in the form that GitHub uses."""
    titles = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def metrics(query):
    """The names of metrics, without the suffixes of a histogram and without labels."""
    query = re.sub(r"\{[^}]*\}", "", query)
    query = re.sub(r"\b(by|on|without|ignoring|group_left) ?\([^)]*\)", "", query)
    names = re.findall(r"\b(?:cvsync|http|db)_\w+", query)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def words(path, pattern):
    return re.findall(pattern, pathlib.Path(path).read_text())


def connectors():
    """Checks that Kafka Connect can read them, and that migrations create their publications and tables."""
    wrong = []
    made = "".join(path.read_text() for path in pathlib.Path("migrations").glob("*.sql"))
    names = set()
    paths = sorted(pathlib.Path("deploy/replication").glob("*.json"))
    for path in paths:
        connector = json.loads(path.read_text())
        config = connector["config"]
        names |= {connector["name"], config["slot.name"], f"prefix {config['topic.prefix']}"}
        if not all(isinstance(value, str) for value in config.values()):
            wrong.append(f"{path}: each value must be text")
        if f"create publication {config['publication.name']} " not in made:
            wrong.append(f"{path}: nothing creates {config['publication.name']}")
        for table in config["table.include.list"].split(","):
            if table not in made:
                wrong.append(f"{path}: nothing creates {table}")
        if not re.fullmatch(r"[a-z0-9_]{1,63}", config["slot.name"]):
            wrong.append(f"{path}: {config['slot.name']} is not a valid name of a slot")
        if not config["database.password"].startswith("${"):
            wrong.append(f"{path}: contains a password")
    if len(names) != 3 * len(paths):
        wrong.append(f"names of connectors, slots and topic prefixes must be unique: {sorted(names)}")
    return wrong


def links():
    wrong = connectors()
    there = anchors(RUNBOOK)

    if len(re.findall(r"https?://", RULES)) != 1 or not re.search(RUNBOOK_SETTING, RULES):
        wrong.append("the rules must have the runbook's address once, in the rule cvsync:runbook")
    for alert in re.findall(r"- alert: (\w+)", RULES):
        if f"runbook_url: '{LINK}#{alert.lower()}'\n" not in RULES or alert.lower() not in there:
            wrong.append(f"{alert} does not link to its own section in the runbook")
    for anchor in re.findall(r"\]\(#([\w-]+)\)", RUNBOOK):
        if anchor not in there:
            wrong.append(f"the runbook links to #{anchor}, which does not exist")
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row" and not panel.get("description"):
            wrong.append(f"panel `{panel['title']}` has no description")
        for link in panel.get("links", []):
            if link["url"].removeprefix("${runbook:raw}#") not in there:
                wrong.append(f"panel `{panel['title']}` links to {link['url']}, which does not exist")

    # The runbook must explain each word that the code can print, and each command in the runbook must exist.
    reasons = words("src/vdab/gate.rs", r'Self::\w+ => "(\w+)"') + ["database", "paused"]
    for word in words("src/model/outcome.rs", r'Self::\w+ => "(\w+)"') + reasons:
        if f"\n| `{word}` |" not in RUNBOOK:
            wrong.append(f"the runbook does not explain `{word}`")
    for command in set(re.findall(r"(?:^|`)cvsync ([a-z]+)", RUNBOOK, re.MULTILINE)):
        file = "pause" if command == "resume" else command
        if not pathlib.Path(f"src/cli/{file}.rs").exists():
            wrong.append(f"the runbook calls `cvsync {command}`, which is not a command")

    if METRICS.exists():
        known = METRICS.read_text()
        expected = [*QUERIES, ("the rules", re.sub(r"^ *#.*$|(?:summary|description):.*$", "", RULES, flags=re.MULTILINE))]
        for where, query in expected:
            for name in sorted(metrics(query)):
                if f"`{name}`" not in known and f"`{name}{{" not in known:
                    wrong.append(f"{where}: {name} is not in {METRICS}")

    for line in wrong:
        print(line)
    print(f"{len(QUERIES)} queries, {len(there)} sections, {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit({"expressions": expressions, "states": states, "links": links}[sys.argv[1]]())
