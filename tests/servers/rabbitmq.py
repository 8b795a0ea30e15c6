"""A private RabbitMQ node: AMQP, Erlang distribution and epmd on loopback only, and no system service is touched.

    node = shared_rabbitmq()            # one per trial process, started by whoever asks first
    vhost = node.fresh_vhost()          # an empty world of its own for one test
    self.addCleanup(vhost.delete)
    pika.BlockingConnection(pika.URLParameters(vhost.url()))

A node takes 3 s to start on an idle machine and up to 30 s on a busy one, so tests share one and get a fresh virtual
host each. A test that kills or restarts may use the shared node too: the next one to ask finds it running again.

The server's own script `exec`s the Erlang VM when it believes itself under systemd, so the pid held here is the VM's
and SIGKILL means the VM.
"""

from __future__ import annotations

import atexit
import glob
import os
import secrets
import socket
import subprocess
import threading
from dataclasses import dataclass
from urllib.parse import quote

from tests.servers import guard
from tests.servers.child import Child, ServerFailed, private_folder, tail
from tests.servers.ports import free_ports

START_SECONDS = 120.0
BATCH = 8

_HELLO = b"AMQP\x00\x00\x09\x01"
_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin")
_MISSING = "rabbitmq-server is not installed: `make test` installs it (Debian package rabbitmq-server)"


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """An isolated virtual host in which user `guest` may do everything."""

    node: PrivateRabbitMQ
    name: str

    def url(self, *, port: int | None = None, user: str = "guest", password: str = "guest") -> str:
        """Its `amqp:` address; `port` leads through a proxy."""
        return self.node.url(vhost=self.name, port=port, user=user, password=password)

    def delete(self) -> None:
        """It goes, with all that is in it, when the next batch of virtual hosts is made or the node is stopped."""
        self.node.forget(self.name)


class PrivateRabbitMQ:
    """One node in a folder of its own.

    Args:
        conf: lines for `rabbitmq.conf`.
        definitions: JSON text to load at the start; user `guest` is then not made.
        plugins: names of plugins to enable.
    """

    def __init__(
        self, *, conf: tuple[str, ...] = (), definitions: str | None = None, plugins: tuple[str, ...] = ()
    ) -> None:
        self.port, self._distribution_port, self._epmd_port = free_ports(3)
        self.name = f"livepush{self.port}@localhost"
        self._conf, self._definitions, self._plugins = conf, definitions, plugins
        self._folder = private_folder("rabbitmq")
        self._cookie = secrets.token_hex(16)
        self._node: Child | None = None
        self._epmd: Child | None = None
        self._fresh: list[str] = []
        self._forgotten: list[str] = []
        self._lock = threading.Lock()

    # --- life

    @property
    def running(self) -> bool:
        """Whether the VM's process is alive."""
        return self._node is not None and self._node.running

    @property
    def pid(self) -> int:
        """The VM's."""
        assert self._node is not None
        return self._node.pid

    def start(self, timeout: float = START_SECONDS) -> None:
        """Returns when the node speaks AMQP; `ServerFailed` with its log when it ends or has not within `timeout`."""
        tools = _tools()
        self._prepare()
        if self._epmd is None or not self._epmd.running:
            # Without one of ours, erl would leave a daemonised epmd behind. In a cluster the first one is everybody's.
            epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            self._epmd = self._spawn(epmd, "epmd.log")
            self._epmd.wait_until(lambda: _answers(self._epmd_port, b""), timeout, needed=False)
        self._node = self._spawn([f"{tools}/rabbitmq-server"], "stdout.log")
        try:
            self._node.wait_until(lambda: _answers(self.port, _HELLO), timeout)
        except ServerFailed as error:
            raise ServerFailed(f"{error}\n{tail(self._folder / 'node.log')}") from None

    def terminate(self, timeout: float = 60.0) -> None:
        """A clean end: SIGTERM, as `rabbitmqctl stop`."""
        if self._node is not None:
            self._node.terminate(timeout)

    def kill(self) -> None:
        """SIGKILL to the VM."""
        if self._node is not None:
            self._node.kill()

    def freeze(self) -> None:
        """SIGSTOP to the VM: connections stay, and nothing answers."""
        assert self._node is not None
        self._node.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._node is not None
        self._node.thaw()

    def restart(self, *, hard: bool = False, timeout: float = START_SECONDS) -> None:
        """Ends it (`hard`: by SIGKILL) and starts it again on the same ports with the same data."""
        if hard:
            self.kill()
        else:
            self.terminate()
        self.start(timeout)

    def stop(self) -> None:
        """Ends everything that was started here and removes the folder. May be called twice."""
        self.kill()  # nothing in it is worth a clean end
        if self._epmd is not None:
            self._epmd.kill()
        guard.remove(self._folder)

    # --- use

    def url(self, *, user: str = "guest", password: str = "guest", vhost: str = "/", port: int | None = None) -> str:
        """An `amqp:` address of this node, or of a proxy before it."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{login}@127.0.0.1:{port or self.port}/{quote(vhost, safe='')}"

    def ctl(self, *arguments: str, tool: str = "rabbitmqctl", timeout: float = START_SECONDS) -> str:
        """What `rabbitmqctl` prints: half a second on an idle machine. `ServerFailed` when it fails."""
        command = [f"{_tools()}/{tool}", "-q", "-n", self.name, *arguments]
        done = subprocess.run(
            command,
            env=self._environment(),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        text = done.stdout.decode(errors="replace")
        if done.returncode:
            raise ServerFailed(f"{tool} {' '.join(arguments)}: exit {done.returncode}\n{text}")
        return text

    def fresh_vhost(self) -> VirtualHost:
        """A virtual host that nobody has used. Eight are made by one `rabbitmqctl`."""
        with self._lock:
            if not self._fresh:
                names = [f"test-{secrets.token_hex(4)}" for _ in range(BATCH)]
                steps = [f'rabbit_vhost:delete(<<"{name}">>, <<"tests">>)' for name in self._forgotten]
                for name in names:
                    steps.append(f'rabbit_vhost:add(<<"{name}">>, <<"tests">>)')
                    everything = '<<".*">>, <<".*">>, <<".*">>, <<"tests">>'
                    rights = f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, {everything})'
                    steps.append(rights)
                self.ctl("eval", ", ".join([*steps, "ok."]))
                self._fresh, self._forgotten = names, []
            return VirtualHost(self, self._fresh.pop())

    def forget(self, vhost: str) -> None:
        """See `VirtualHost.delete`."""
        with self._lock:
            self._forgotten.append(vhost)

    def log(self, characters: int = 4000) -> str:
        """The end of what it wrote."""
        return "\n".join(tail(self._folder / name, characters) for name in ("stdout.log", "node.log"))

    # --- inside

    def _environment(self) -> dict[str, str]:
        here = self._folder
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        ports = f"-kernel inet_dist_listen_min {self._distribution_port} inet_dist_listen_max {self._distribution_port}"
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(here),  # .erlang.cookie lives here
            "RUNNING_UNDER_SYSTEMD": "true",  # the script execs the VM
            "RABBITMQ_CONF_ENV_FILE": f"{here}/none",  # never /etc/rabbitmq/rabbitmq-env.conf
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": str(here),
            "RABBITMQ_LOGS": f"{here}/node.log",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{here}/generated",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{here}/node.pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{loopback} {ports}",
            "RABBITMQ_CTL_ERL_ARGS": loopback,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": "/dev/null",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }

    def _prepare(self) -> None:
        here = self._folder
        cookie = here / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "log.console = false", "disk_free_limit.absolute = 50MB"]
        if self._definitions is not None:
            (here / "definitions.json").write_text(self._definitions)
            lines.append(f"load_definitions = {here}/definitions.json")
        (here / "rabbitmq.conf").write_text("\n".join([*lines, *self._conf, ""]))
        (here / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n")

    def _spawn(self, command: list[str], log: str) -> Child:
        return Child(command, folder=self._folder, environ=self._environment(), log=self._folder / log)


_shared: PrivateRabbitMQ | None = None


def shared_rabbitmq() -> PrivateRabbitMQ:
    """The node of this process, running; stopped when the process ends."""
    global _shared  # noqa: PLW0603 - one per process is its meaning
    if _shared is None:
        _tools()
        _shared = PrivateRabbitMQ()
        atexit.register(_shared.stop)
    if not _shared.running:
        _shared.start()
    return _shared


def _tools() -> str:
    """The folder of `rabbitmq-server` and `rabbitmqctl` themselves: Debian's wrappers change user and folder."""
    for pattern in (os.environ.get("RABBITMQ_BIN", ""), *_FOLDERS):
        for folder in sorted(glob.glob(pattern), reverse=True):
            if os.access(f"{folder}/rabbitmq-server", os.X_OK):
                return folder
    raise ServerFailed(_MISSING)


def _answers(port: int, hello: bytes) -> bool:
    """Whether somebody accepts there and, given a greeting, greets back."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            if not hello:
                return True
            connection.settimeout(5)
            connection.sendall(hello)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
