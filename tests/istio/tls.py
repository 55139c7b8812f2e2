"""Certificates, as a mesh's authority would issue them to all workloads, and servers that ask their clients for one."""

import ssl
import subprocess

IDENTITY = "spiffe://cluster.local/ns/test/sa/default"


def certificate(folder):
    """A workload's certificate and key, and the root that both sides trust, where the agent looks for files."""
    folder.mkdir(parents=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/O=test"]
    name = f"subjectAltName=critical,URI:{IDENTITY}"
    for command in (
        [*key, "-keyout", "root-key.pem", "-out", "root-cert.pem"],
        [*key, "-keyout", "key.pem", "-out", "cert-chain.pem", "-CA", "root-cert.pem", "-CAkey", "root-key.pem",
         "-addext", name, "-addext", "basicConstraints=critical,CA:false"],
    ):
        subprocess.run(["openssl", "req", "-x509", *command], cwd=folder, check=True, capture_output=True)


def secured(server, folder):
    """Makes a server take clients alone that have a certificate of the mesh."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert-chain.pem", folder / "key.pem")
    context.load_verify_locations(folder / "root-cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["istio"])
    # The handshake is the first read's, on the connection's own thread.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server
