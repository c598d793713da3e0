"""A mosquitto broker with TLS and a password, and a plug that runs Tasmota, as far as it is asked."""

import contextlib
import datetime
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "satmeter", "a password of the broker"


def certificate(folder, name="localhost"):
    """A certificate of its own for a name; returns the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    files[1].write_bytes(private)
    return files


class Broker:
    """mosquitto, on loopback, with TLS and a password."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.ca, key = certificate(folder)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, USER, PASSWORD], check=True, capture_output=True)
        for each in (self.ca, key, passwords):
            each.chmod(0o644)
        (folder / "conf").write_text(
            f"listener {self.port} 127.0.0.1\ncafile {self.ca}\ncertfile {self.ca}\nkeyfile {key}\n"
            f"password_file {passwords}\nallow_anonymous false\nuser root\n"
        )
        self.start()

    def start(self):
        found = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        log = (self.folder / "log").open("a")
        self.process = subprocess.Popen([found, "-c", str(self.folder / "conf")], stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            assert self.process.poll() is None and time.monotonic() < end, Path(self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    @property
    def fields(self):
        """The broker's fields in a device's config."""
        given = {"broker": "localhost", "port": self.port, "user": USER, "password": PASSWORD}
        return {**given, "tls": 1, "ca": str(self.ca)}

    def client(self):
        tls = ssl.create_default_context(cafile=self.ca)
        return aiomqtt.Client("localhost", self.port, username=USER, password=PASSWORD, tls_context=tls)
