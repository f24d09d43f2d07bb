"""`capd exec` and real programs: run without a shell, ended in time, tried again, never silent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.delivery.facts import environment, message
from capd.delivery.process import Delivery
from capd.errors import StorageError
from capd.spool import MOST, Event, Spool
from tests.support.command import running
from tests.support.need import need, need_root
from tests.support.programs import ALERT, NOON, Program, config, quoted
from tests.support.wait import wait_for

CAPD = Path(sys.executable).with_name("capd")


def execute(config_file: str, runtime: Path) -> str:
    """`capd exec` to its end; what it says."""
    done = subprocess.run(
        [str(CAPD), "exec", "--config", config_file],
        env=os.environ | {"RUNTIME_DIRECTORY": str(runtime)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def executing(config_file: str, runtime: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """`capd exec`, and no more of it afterwards."""
    return running(["exec", "--config", config_file], runtime)


@pytest.mark.security("hooks")
def test_a_program_gets_the_facts(tmp_path: Path) -> None:
    """In its environment and on its standard input, its arguments as they are; in order."""
    program = Program(tmp_path)
    spool = Spool(str(tmp_path))
    spool.put(ALERT._replace(at=NOON + 1, text="the second"))
    spool.put(ALERT)
    said = execute(config(tmp_path, quoted(program.path, "$(id)", "a b", "*")), tmp_path)
    first, second = program.runs
    assert first["arguments"] == ["$(id)", "a b", "*"]
    assert first["facts"] == {
        "CAPD_EVENT": "alert",
        "CAPD_AT": "2025-11-24T12:00:00.000000000Z",
        "CAPD_HOST": socket.gethostname(),
        "CAPD_TEXT": "v0: lost 5 packets",
        "CAPD_INTERFACE": "v0",
        "CAPD_PACKETS": "5",
    }
    assert first["text"] == (
        f"capd on {socket.gethostname()}: v0: lost 5 packets\n\n"
        "interface  v0\npackets    5\ntold       2025-11-24T12:00:00.000000000Z\n"
    )
    assert second["facts"]["CAPD_TEXT"] == "the second"
    assert spool.names() == []
    assert f"INFO    told by {program.path}: v0: lost 5 packets" in said


def test_a_program_that_fails_is_run_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And is given up after a few times, with what it said."""
    caplog.set_level("INFO")
    code = "print('no route to mail')\nsys.exit(7 if len(open(sys.argv[1]).readlines()) < 3 else 0)"
    program, spool = Program(tmp_path, code), Spool(str(tmp_path))
    file = config(tmp_path, quoted(program.path, tmp_path / "notes"))
    spool.put(ALERT)
    Delivery(file, spool, (0.0, 0.0)).run()
    assert len(program.runs) == 3
    assert "told by" in caplog.text
    (tmp_path / "notes").unlink()
    spool.put(ALERT)
    Delivery(file, spool, (0.0,)).run()
    assert len(program.runs) == 2
    assert f"failed: {program.path}: status 7; it said: no route to mail; nobody" in caplog.text
    assert spool.names() == []


@pytest.mark.security("hooks")
def test_a_program_that_hangs_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With all that it has started; the next event is not kept waiting."""
    code = "import subprocess\nchild = subprocess.Popen(['sleep', '100'])\n"
    code += f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\ntime.sleep(100)"
    program, spool = Program(tmp_path, code), Spool(str(tmp_path))
    spool.put(ALERT)
    begin = time.monotonic()
    Delivery(config(tmp_path, quoted(program.path), 'timeout = "1s"'), spool, ()).run()
    assert time.monotonic() - begin < 60  # not for as long as it hangs
    assert "no end within 1 s" in caplog.text
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not _alive(child), 20, "the end of what it has started")


def test_what_is_left_in_the_background_can_talk(tmp_path: Path) -> None:
    """As a mailer does there: a pipe with nobody at its end would kill it before it is done."""
    script = f"sleep 1; echo sending; touch {tmp_path}/sent"
    program = Program(tmp_path, f"import subprocess; subprocess.Popen(['sh', '-c', '{script}'])")
    Spool(str(tmp_path)).put(ALERT)
    execute(config(tmp_path, quoted(program.path)), tmp_path)
    assert (tmp_path / "sent").exists()


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("[print('x' * 10**6) for _ in range(100)]; print('end'); sys.exit(1)", "status 1"),
    ],
)
@pytest.mark.security("hooks")
def test_ends_of_programs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str, how: str
) -> None:
    """A death, and more output than anybody wants: the end of it is kept."""
    program, spool = Program(tmp_path, code), Spool(str(tmp_path))
    spool.put(ALERT)
    Delivery(config(tmp_path, quoted(program.path)), spool, ()).run()
    assert how in caplog.text
    assert len(caplog.text) < 5000


def test_no_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that is not there, and none at all: there is nothing to wait for."""
    spool = Spool(str(tmp_path))
    spool.put(ALERT)
    Delivery(config(tmp_path, quoted("/no/such/program")), spool, ()).run()
    assert "/no/such/program: it cannot be started: No such file" in caplog.text
    file = config(tmp_path, quoted("/bin/true"))
    Path(file).write_text('[[interface]]\nname = "v0"\n')
    spool.put(ALERT)
    Delivery(file, spool).run()
    assert "capd.toml has no [alert] command; nobody was told: v0: lost 5" in caplog.text
    assert spool.names() == []


def test_a_bad_config(tmp_path: Path) -> None:
    """Events wait for a good one; the test of the alerts does not."""
    program, spool = Program(tmp_path), Spool(str(tmp_path))
    file = config(tmp_path, "[]")
    tried = spool.put(ALERT._replace(kind="test", at=NOON - 1, answer=True))
    spool.put(ALERT)
    with executing(file, tmp_path) as waiting:
        assert waiting.stderr is not None
        said = waiting.stderr.readline()
        assert "nobody is told yet: events wait for a config that is good" in said
        assert not program.runs
        config(tmp_path, quoted(program.path))
        assert waiting.wait(20) == 0
    assert [run["facts"]["CAPD_EVENT"] for run in program.runs] == ["alert"]
    result = spool.result(tried)
    assert result is not None
    assert not result["done"]
    assert "alert.command: is empty" in result["how"]


def test_what_comes_while_a_command_fails(tmp_path: Path) -> None:
    """Is told too, though the folder of events goes before the next try, as with a stop of capd."""
    program = Program(tmp_path, "sys.exit(os.environ['CAPD_TEXT'] == 'first')")
    spool = Spool(str(tmp_path))
    spool.put(ALERT._replace(text="first"))
    file = config(tmp_path, quoted(program.path))
    delivery = threading.Thread(target=Delivery(file, spool, (3.0,)).run)
    delivery.start()
    wait_for(lambda: program.runs, 20, "the first try")
    name = spool.put(ALERT._replace(at=NOON + 1, text="second"))
    time.sleep(1)  # it looks five times a second while it waits for the next try
    Path(spool.events, name).unlink()
    delivery.join(30)
    told = [run["facts"]["CAPD_TEXT"] for run in program.runs]
    assert told == ["first", "first", "second"]


def test_events_after_one_that_failed(tmp_path: Path) -> None:
    """Are tried once each, until one is done."""
    code = "sys.exit(0 if os.environ['CAPD_TEXT'] == 'good' else 1)"
    program, spool = Program(tmp_path, code), Spool(str(tmp_path))
    for number, text in enumerate(("bad", "bad", "good", "bad")):
        spool.put(ALERT._replace(at=NOON + number, text=text))
    Delivery(config(tmp_path, quoted(program.path)), spool, (0.0, 0.0)).run()
    tries = [run["facts"]["CAPD_TEXT"] for run in program.runs]
    assert tries == [*["bad"] * 3, "bad", "good", *["bad"] * 3]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """The event stays, and the next one deals with it."""
    flag = tmp_path / "flag"
    code = f"while not os.path.exists({str(flag)!r}): time.sleep(0.05)"
    program, spool = Program(tmp_path, code), Spool(str(tmp_path))
    file = config(tmp_path, quoted(program.path))
    spool.put(ALERT)
    with executing(file, tmp_path) as first:
        wait_for(lambda: program.runs, 20, "the program")
        assert spool.is_taken
        first.send_signal(signal.SIGKILL)
    assert len(spool.names()) == 1
    flag.touch()
    execute(file, tmp_path)
    assert len(program.runs) == 2
    assert spool.names() == []


def test_what_is_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is hidden, or the unit would be started for it for ever; nothing of it is lost."""
    spool = Spool(str(tmp_path))
    spool.put(ALERT)
    events = Path(spool.events)
    good = json.loads((events / spool.names()[0]).read_text())
    (events / "notes.txt").write_text("mine")
    (events / f"{NOON + 1:020d}-alert.json").write_text("{")
    (events / f"{NOON + 2:020d}-alert.json").symlink_to("/etc/passwd")
    (events / f"{NOON + 3:020d}-alert.json").mkdir()
    for number, wrong in enumerate(
        (
            *({"text": 1}, {"facts": {"LD=": "x"}}, {"facts": {"x": 1}}, {"text": "\ud800"}),
            *({"facts": []}, {"at": 10**30}),
        ),
        4,
    ):
        (events / f"{NOON + number:020d}-alert.json").write_text(json.dumps(good | wrong))
    os.mkfifo(events / f"{NOON + 10:020d}-alert.json")
    before = {path.name for path in events.iterdir()} - set(spool.names()[:1])
    program = Program(tmp_path)
    Delivery(config(tmp_path, quoted(program.path)), spool, ()).run()
    assert len(program.runs) == 1
    assert caplog.text.count("this is no event, and was set aside: ") == len(before) == 11
    assert {path.name for path in events.iterdir()} == {f".{name}" for name in before}


def test_events_that_could_not_be_removed(tmp_path: Path) -> None:
    """Are not taken: their command would be run again and again."""
    need("setpriv")
    need_root()
    program, spool = Program(tmp_path), Spool(str(tmp_path))
    spool.put(ALERT)
    file = config(tmp_path, quoted(program.path))
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", str(CAPD), "exec"]
    Path(spool.events).chmod(0o500)
    done = subprocess.run(
        [*words, "--config", file],
        env=os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot take events: {spool.events} is not to be written to" in done.stderr
    assert not program.runs


def test_a_full_spool(tmp_path: Path) -> None:
    """Nobody takes events: that is an error, and no heap of files."""
    spool = Spool(str(tmp_path))
    for number in range(MOST):
        spool.put(ALERT._replace(at=NOON + number))
    with pytest.raises(StorageError, match="nobody takes them"):
        spool.put(ALERT._replace(at=NOON + MOST))
    assert len(os.listdir(spool.events)) == MOST


def test_nobody_takes_events(tmp_path: Path) -> None:
    """`capd alert --test` says so, and leaves nothing behind that is told later."""
    file = config(tmp_path, quoted("/bin/true"))
    words = [str(CAPD), "alert", "--test", "--config", file]
    (tmp_path / "status.json").write_text("{}")  # of a daemon whose helper does not run
    done = subprocess.run(
        words,
        env=os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nobody takes events from " in done.stdout
    assert "systemctl status capd-exec.path" in done.stdout
    assert Spool(str(tmp_path)).names() == []


@given(st.text(), st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
@pytest.mark.security("hooks")
def test_any_text(text: str, facts: dict[str, str]) -> None:
    """Makes a message and an environment."""
    event = Event("alert", NOON, text, facts)
    assert text in message(event)
    assert len(environment(event)) >= 4
