"""The command: a broker as a process, and a look into it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from tools.local import processes
from tools.local.azurite.install import PROJECT
from tools.local.running import ServiceBus, running_servicebus, start_servicebus

CONFIG = {
    "UserConfig": {
        "Namespaces": [
            {
                "Name": "n",
                "Queues": [
                    {"Name": "orders", "Properties": {"MaxDeliveryCount": 1}},
                    {"Name": "devices", "Properties": {"RequiresSession": True}},
                ],
                "Topics": [
                    {
                        "Name": "events",
                        "Properties": {"RequiresDuplicateDetection": True},
                        "Subscriptions": [{"Name": "one"}, {"Name": "two"}],
                    }
                ],
            }
        ]
    }
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("entities") / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[ServiceBus]:
    with running_servicebus(tmp_path_factory.mktemp("broker"), config) as running:
        yield running


def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "tools.local.servicebus", *arguments]
    if arguments[0] != "--help":
        command += ["--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT)
    return done.returncode, done.stdout, done.stderr


def test_peeking_shows_and_takes_nothing(broker: ServiceBus, config: Path) -> None:
    with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        with client.get_queue_sender("orders") as sender:
            properties = {"color": "red"}
            for number in range(3):
                sender.send_messages(
                    ServiceBusMessage(f"body {number}", subject="s", application_properties=properties)
                )
        for _ in range(2):
            code, out, err = run(config, "peek", "orders", "--port", str(broker.port))
            assert (code, err) == (0, "3 message(s)\n")
            assert "body 0" in out
            assert "color = red" in out
        code, out, _ = run(
            config, "peek", "orders", "--json", "--count", "1", "--from", "2", "--port", str(broker.port)
        )
        [line] = out.splitlines()
        shown = json.loads(line)
        assert (shown["body"], shown["sequence_number"], shown["subject"]) == ("body 1", 2, "s")
        with client.get_queue_receiver("orders", receive_mode="receiveanddelete") as receiver:
            found: list[str] = []
            while len(found) < 3:
                found += [str(each) for each in receiver.receive_messages(3, max_wait_time=10)]


def test_a_look_disturbs_no_session(broker: ServiceBus, config: Path) -> None:
    with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        with client.get_queue_sender("devices") as sender:
            for name in ("a", "b"):
                sender.send_messages(ServiceBusMessage(f"for {name}", session_id=name))
        with client.get_queue_receiver("devices", session_id="a") as receiver:
            [message] = receiver.receive_messages(1, max_wait_time=10)
            code, out, err = run(config, "peek", "devices", "--port", str(broker.port))
            assert (code, err) == (0, "2 message(s)\n")
            assert "session id: a" in out
            assert "for b" in out
            receiver.complete_message(message)
        code, out, err = run(config, "peek", "--port", str(broker.port))
        assert (code, err) == (0, "1 message(s)\n"), "of all entities"
        with client.get_queue_receiver("devices", session_id="b") as receiver:
            [message] = receiver.receive_messages(1, max_wait_time=10)
            assert message.delivery_count == 0
            receiver.complete_message(message)


def test_dead_letters_are_shown_with_their_reasons_and_driven_back(broker: ServiceBus, config: Path) -> None:
    port = ("--port", str(broker.port))
    with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        with client.get_topic_sender("events") as sender:
            for number in range(2):
                sender.send_messages(ServiceBusMessage(f"event {number}", message_id=str(number)))
        with client.get_subscription_receiver("events", "one") as receiver:
            for _ in range(2):
                [message] = receiver.receive_messages(1, max_wait_time=10)
                receiver.dead_letter_message(message, reason="Unreadable", error_description="no JSON")
        code, out, err = run(config, "dead-letters", *port)
        assert (code, err) == (0, "2 message(s)\n")
        assert "events/one/$DeadLetterQueue" in out
        assert "dead letter reason: Unreadable" in out
        assert "dead letter description: no JSON" in out
        assert run(config, "redrive", "events/one", "--count", "1", *port)[:2] == (
            0,
            "1 message(s) moved back\n",
        )
        assert run(config, "redrive", "events/one", *port)[:2] == (0, "1 message(s) moved back\n")
        assert run(config, "redrive", "events/one", *port)[:2] == (0, "0 message(s) moved back\n")
        for name in ("one", "two"):
            with client.get_subscription_receiver(
                "events", name, receive_mode="receiveanddelete"
            ) as receiver:
                got: list[str] = []
                while len(got) < 2:
                    got += [str(each) for each in receiver.receive_messages(2, max_wait_time=10)]
                assert got == ["event 0", "event 1"], "in the other subscription there is no second copy"


def test_help_says_what_there_is(config: Path) -> None:
    code, out, _ = run(config, "--help")
    assert code == 0
    for word in ("serve", "peek", "dead-letters", "redrive", "examples:", "SERVICEBUS_CONNECTION_STRING"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["peek", "a/b/c/d"], 2, "neither QUEUE nor TOPIC/SUBSCRIPTION"),
        (["peek", "nowhere"], 1, "has it this entity?"),
        (["redrive"], 2, "ENTITY"),
        (["swim"], 2, "invalid choice"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    broker: ServiceBus, config: Path, arguments: list[str], code: int, words: str
) -> None:
    returned, _, err = run(config, *arguments, *(["--port", str(broker.port)] if len(arguments) > 1 else []))
    assert returned == code
    assert words in err
    assert "Traceback" not in err


def test_without_a_broker_it_says_how_to_start_one(config: Path) -> None:
    [port] = processes.free_ports(1)
    code, _, err = run(config, "peek", "orders", "--port", str(port))
    assert code == 1
    assert "Is the broker running" in err
    assert "Traceback" not in err


def test_serving_refuses_what_it_can_t_have(broker: ServiceBus, config: Path, tmp_path: Path) -> None:
    code, _, err = run(config, "serve", "--port", str(broker.port), "--data", str(tmp_path / "other.db"))
    assert code == 1
    assert "address already in use" in err.lower()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"UserConfig": {"Namespaces": [{"Queues": [{"Name": ""}]}]}}')
    code, _, err = run(wrong, "serve", "--port", "1")
    assert code == 1
    assert "Queues[0].Name" in err


def test_stopping_is_quick_and_loses_nothing(config: Path, tmp_path: Path) -> None:
    [port] = processes.free_ports(1)
    first = start_servicebus(tmp_path / "bus.db", port, tmp_path / "log", config)
    sent = [str(number) for number in range(20)]
    with (
        ServiceBusClient.from_connection_string(first.connection_string) as client,
        client.get_queue_sender("orders") as sender,
    ):
        for body in sent:
            sender.send_messages(ServiceBusMessage(body))
    with socket.create_connection(("127.0.0.1", port)) as connected:
        connected.sendall(b"AMQP\x03\x01\x00\x00")
        assert connected.recv(8) == b"AMQP\x03\x01\x00\x00"
        assert first.child.stop(10), "it ended by itself, with a client connected"
    second = start_servicebus(tmp_path / "bus.db", port, tmp_path / "log", config)
    try:
        with (
            ServiceBusClient.from_connection_string(second.connection_string) as client,
            client.get_queue_receiver("orders") as receiver,
        ):
            assert [str(each) for each in receiver.peek_messages(50)] == sent
    finally:
        second.child.stop()


def test_it_listens_on_this_machine_only(broker: ServiceBus) -> None:
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(broker.child.pid).net_connections()
        if connection.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}
