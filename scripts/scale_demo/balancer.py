"""The balancer in front of the copies, by scripts/balancer, with TLS."""

import os
import re
import shutil
import signal
import subprocess

from client import Door
from fleet import free_port

CHECK_LIMIT_S = 300
STOP_LIMIT_S = 30
# nginx has keepalive_min_timeout from this version on.
KEEPS_SINCE = (1, 27, 4)
# One address makes the whole load: the limits by address are raised, the limits by account are off.
OPEN = tuple(f"{zone}=1000000,100000" for zone in ("api", "upload", "sign_in", "websocket"))
# The script's own.
SHIPPED = ()


class Balancer:
    """Leaving the context ends it."""

    def __init__(self, root, kind, folder, copies):
        self.root, self.kind, self.copies = root, kind, copies
        self.folder = folder / "balancer"
        self.folder.mkdir()
        self.door = Door(free_port(), self.folder / "cert.pem")
        self.process = None
        self.log_file = self.folder / "log"
        self.log = open(self.log_file, "wb")

    def __enter__(self):
        self.process = subprocess.Popen(self.command(OPEN), stdout=self.log, stderr=self.log)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def reload(self, rates=OPEN):
        """Makes the copies of now known; requests that are under way end as they began."""
        command = self.command(rates, "--reload")
        subprocess.run(command, check=True, timeout=CHECK_LIMIT_S, stdout=self.log, stderr=self.log)

    def cuts_kept_connections(self):
        """Whether a reload closes connections that are idle, whatever is on its way into them."""
        if self.kind != "nginx":
            return False
        # Debian keeps it out of a user's PATH.
        path = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        said = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=CHECK_LIMIT_S).stderr
        version = re.search(r"nginx/([0-9.]+)", said)[1]
        return tuple(map(int, version.split("."))) < KEEPS_SINCE

    def command(self, rates, *more):
        words = [self.root / "scripts/balancer", self.kind, "--listen", f"127.0.0.1:{self.door.port}"]
        words += ["--serve", *self.copies.addresses("serve"), "--realtime", *self.copies.addresses("realtime")]
        words += ["--self-signed", "--dir", self.folder]
        for rate in rates:
            words += ["--rate", rate]
        return [*words, *more]
