# SPDX-License-Identifier: BSD-3-Clause
"""hosts.py - the services on the host's loopback that a guest talks to."""

import contextlib
import hashlib
import http.server
import random
import socket
import socketserver
import struct
import threading
import time

BLOCK = 1 << 18


def payload(size, seed):
    """Yields `size` random bytes in blocks, the same ones for the same seed."""
    source = random.Random(seed)
    while size > 0:
        n = min(size, BLOCK)
        yield source.randbytes(n)
        size -= n


def payload_sha256(size, seed):
    digest = hashlib.sha256()
    for block in payload(size, seed):
        digest.update(block)
    return digest.hexdigest()


def free_port(kind=socket.SOCK_STREAM):
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class _Service:
    """A socketserver on a thread of its own, as a context manager."""

    def __init__(self, server):
        self.server = server
        self.port = server.server_address[1] if isinstance(server.server_address, tuple) else None
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._thread:
            self.server.shutdown()
            self.server.server_close()
            self._thread.join()
            self._thread = None


class _HttpHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        found = self.server.pages.get(self.path.split("?")[0])
        self.server.times.append(time.monotonic())
        self.server.requests.append([self.path, 0])
        entry = self.server.requests[-1]
        if found is None:
            self.send_error(404)
            return
        if callable(found):
            found = found(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        for at in range(0, len(found), BLOCK):
            self.wfile.write(found[at:at + BLOCK])
            entry[1] = min(at + BLOCK, len(found))

    def log_message(self, *_):
        pass


class _Http4(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # A guest that goes away in mid-answer is not this server's fault.


class _Http6(_Http4):
    address_family = socket.AF_INET6


class Http:
    """Serves `pages` on one port of 127.0.0.1, of `others` and, if there, of ::1.

    They are bytes by path, or a function that makes them of the path with its query.
    `requests` lists [path with query, bytes of the body that were sent], `times` when each came.
    """

    def __init__(self, pages, others=()):
        self.requests, self.times = [], []
        v4 = _Http4(("127.0.0.1", 0), _HttpHandler)
        port = v4.server_address[1]
        servers = [v4] + [_Http4((address, port), _HttpHandler) for address in others]
        with contextlib.suppress(OSError):
            servers.append(_Http6(("::1", port), _HttpHandler))
        for server in servers:
            server.pages, server.requests, server.times = pages, self.requests, self.times
        self._services = [_Service(s) for s in servers]
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for service in self._services:
            service.close()

    def sent(self, path):
        """Bytes sent for the first request of exactly this path, or None."""
        return next((n for p, n in self.requests if p == path), None)


class _EchoHandler(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while data := self.request.recv(BLOCK):
                self.request.sendall(self.server.transform(data))


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    transform = staticmethod(lambda data: data)


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    transform = staticmethod(lambda data: data.upper())


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


def tcp_echo():
    return _Service(_Tcp(("127.0.0.1", 0), _EchoHandler))


def unix_upper(path):
    """Answers each piece of text in capitals, so that an echo elsewhere can't be taken for it."""
    return _Service(_Unix(path, _EchoHandler))


class _Udp6(socketserver.ThreadingUDPServer):
    address_family = socket.AF_INET6


def udp_echo(address="127.0.0.1"):
    server = _Udp6 if ":" in address else socketserver.ThreadingUDPServer
    return _Service(server((address, 0), _UdpHandler))


class Transfer:
    """What came of a bulk transfer: bytes, their SHA-256, seconds."""

    def __init__(self):
        self.bytes = 0
        self.sha256 = None
        self.error = None


class _OneConnection:
    """Takes one connection on a thread of its own and does `_serve` with it."""

    patience = 30

    def __init__(self):
        self._got = Transfer()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._listener.settimeout(self.patience)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Wakes accept(), if nobody came.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * self.patience)
        self._listener.close()

    def _run(self):
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(self.patience)
                self._serve(connection)
        except OSError as err:
            self._got.error = err

    def result(self, timeout):
        """Waits for the end of the connection; returns what came."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"still open after {timeout} s, {self._got.bytes} bytes")
        if self._got.error:
            raise self._got.error
        return self._got


class TcpSink(_OneConnection):
    """Reads the connection to its end."""

    def __init__(self, digest=True):
        self._digest = digest
        super().__init__()

    def _serve(self, connection):
        read_all(connection, self._got, self._digest)


class TcpSource(_OneConnection):
    """Sends the payload of this size and seed."""

    def __init__(self, size, seed):
        self._what = (size, seed)
        super().__init__()

    def _serve(self, connection):
        for block in payload(*self._what):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection, self._got)


def read_all(sock, transfer, digest=True):
    """Reads `sock` to its end into the counts of `transfer`."""
    sha256 = hashlib.sha256()
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    while n := sock.recv_into(buffer):
        transfer.bytes += n
        if digest:
            sha256.update(view[:n])
    transfer.sha256 = sha256.hexdigest()
    return transfer


def send_all(address, blocks, timeout=30):
    """Connects, sends the blocks of bytes, ends its side and waits for the peer's end."""
    with socket.create_connection(address, timeout) as s:
        for block in blocks:
            s.sendall(block)
        s.shutdown(socket.SHUT_WR)
        return read_all(s, Transfer())


class Dns:
    """A resolver on 127.0.0.1:53 for some names: {name: (IPv4 or None, IPv6 or None)}."""

    def __init__(self, names):
        self.asked = []
        self._names = {n.lower(): a for n, a in names.items()}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._socket.settimeout(0.1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, IndexError, struct.error):
                query, peer = self._socket.recvfrom(2048)
                self._socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        kind = struct.unpack_from("!H", query, at + 1)[0]
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        question = query[12:at + 5]
        known = self._names.get(name)
        address = {1: 0, 28: 1}.get(kind)
        text = known[address] if known and address is not None else None
        answer = b""
        if text:
            data = socket.inet_pton(socket.AF_INET6 if kind == 28 else socket.AF_INET, text)
            # 0xc00c points back at the name in the question.
            answer = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
        flags = 0x8180 if known else 0x8183
        return query[:2] + struct.pack("!HHHHH", flags, 1, bool(answer), 0, 0) + question + answer
