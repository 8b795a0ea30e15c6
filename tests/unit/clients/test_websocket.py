"""The tests' own WebSocket client, over a socket pair."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.websocket import CLOSE, DROPPED, NO_CODE, PING, PONG, TEXT, Closed, Frame, Handshake, WebSocket


class WebSocketTests(SynchronousTestCase):
    """Frames out and in."""

    def setUp(self) -> None:
        self.server, ours = socket.socketpair()
        self.addCleanup(self.server.close)
        self.server.settimeout(5)
        self.client = WebSocket(ours, Handshake(101, ()), deadline=5.0)
        self.addCleanup(self.client.close)

    def _sent(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.server.recv(size - len(data))
        return data

    def test_a_frame_is_masked(self) -> None:
        """What a client sends is masked, with the length in the shortest form (RFC 6455, 5.2)."""
        for size, form in ((5, ">xB"), (300, ">xxH"), (70_000, ">xxQ")):
            payload = bytes(index % 251 for index in range(size))
            self.client.send_frame(TEXT, payload)
            head = self._sent(struct.calcsize(form))
            self.assertEqual(head[0], 0x81)
            self.assertTrue(head[1] & 0x80)
            self.assertEqual(struct.unpack(form, head)[0] & ~(0x80 if size < 126 else 0), size)
            key = self._sent(4)
            masked = self._sent(size)
            self.assertEqual(bytes(byte ^ key[index % 4] for index, byte in enumerate(masked)), payload)

    def test_frames_come_whole_and_in_order(self) -> None:
        """Frames that arrive in one piece or in many are handed over one by one."""
        big = b"x" * 70_000
        self.server.sendall(b"\x81\x02hi\x89\x01p" + b"\x82\x7f" + struct.pack(">Q", len(big)))
        self.assertEqual(self.client.receive(), Frame(TEXT, b"hi"))
        self.assertEqual(self.client.receive(), Frame(PING, b"p"))
        self.server.sendall(big)
        self.assertEqual(self.client.receive().payload, big)

    def test_a_ping_is_answered_while_a_message_is_awaited(self) -> None:
        """A test that waits for a message stays alive for the server."""
        self.server.sendall(b'\x89\x02ab\x81\x0a{"op":"x"}')
        self.assertEqual(self.client.receive_json(), {"op": "x"})
        self.assertEqual(self._sent(8)[:2], bytes([0x80 | PONG, 0x82]))

    def test_a_close_frame_is_told_with_its_code(self) -> None:
        """A close frame while a message is awaited gives code and reason."""
        self.server.sendall(b"\x88\x05" + struct.pack(">H", 4401) + b"bye")
        end = self.assertRaises(Closed, self.client.receive_text)
        self.assertEqual((end.code, end.reason), (4401, "bye"))
        self.server.sendall(bytes([0x80 | CLOSE, 0]))
        self.assertEqual(self.client.receive_close().code, NO_CODE)

    def test_a_dropped_connection_is_told(self) -> None:
        """An end without a close frame is not taken for silence."""
        self.server.sendall(b"\x81\x02hi")
        self.server.close()
        self.assertEqual(self.client.receive_close().code, DROPPED)

    def test_silence_ends_at_the_deadline(self) -> None:
        """A server that says nothing, or half a frame, fails the test instead of hanging it."""
        self.assertRaises(TimeoutError, self.client.receive, 0.01)
        self.server.sendall(b"\x81\x05he")
        self.assertRaises(TimeoutError, self.client.receive, 0.01)
