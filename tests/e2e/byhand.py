"""Of tests that speak the protocol by hand: connections to the test's daemon."""

import os

import wire


def fd_count(pid):
    """Descriptors that this process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Peers:
    """Of a test class: connections to its daemon, which runs."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ctl("run", "true")
        cls.socket = cls.daemon.json("status")["socket"]

    def hold(self, builder, options):
        """For submit_frame's `change`: the task is held."""
        options.set("B", 32, 1)

    def peer(self, **options):
        peer = wire.Peer(self.socket, **options)
        self.addCleanup(peer.close)
        return peer

    def pid(self):
        return self.daemon.json("status")["pid"]
