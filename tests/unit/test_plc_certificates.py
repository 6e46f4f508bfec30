"""Certificates: what is made, what is believed, and a sentence for every mistake."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner

from neverblink.bridge.commands import make_certificates
from neverblink.cli import app, sentence_of
from neverblink.plant import PlantError, parse_plant
from neverblink.plc.certificates import (
    MAX_REJECTED,
    CertificateError,
    TrustFolder,
    application_uri,
    as_der,
    first_of_chain,
    make_identity,
    read_certificate,
    read_identity,
    thumbprint,
)
from neverblink.plc.contract_files import node_list
from rigs.application_certificates import certificate, make

NOW = datetime.now(UTC)


def fault(certificate_file: Path, key_file: Path, now: datetime = NOW) -> str:
    with pytest.raises(CertificateError) as caught:
        read_identity(certificate_file, key_file, now)
    return str(caught.value)


def distrust(folder: Path, shown: x509.Certificate, host: str = "localhost", uri: str = "urn:neverblink:plc") -> str:
    with pytest.raises(CertificateError) as caught:
        TrustFolder(folder).check(shown, host, uri, NOW)
    return str(caught.value)


def test_a_made_identity_is_what_opc_10000_6_asks_for_and_nothing_is_overwritten(tmp_path: Path) -> None:
    files = tmp_path / "certificates" / "neverblink.der", tmp_path / "secrets" / "key.pem"
    made = make_identity(*files, ["box-7", "box-7.plant", "192.0.2.7"], 365, NOW)
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
    identity = read_identity(*files, NOW)
    assert identity.uri == application_uri(made) == "urn:box-7:neverblink"
    assert made.not_valid_after_utc.date() == (NOW + timedelta(days=365)).date()
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["box-7", "box-7.plant"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert usage.key_encipherment
    assert usage.data_encipherment
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    made.verify_directly_issued_by(made)

    before = files[1].read_bytes()
    for kept in files:
        with pytest.raises(CertificateError, match="is there already, and PLCs may trust it"):
            make_identity(*files, ["box-7"], 365, NOW)
        assert files[1].read_bytes() == before
        kept.rename(kept.with_suffix(".old"))
        if kept is files[1]:
            break
        with pytest.raises(CertificateError, match=r"key\.pem is there already"):
            make_identity(*files, ["box-7"], 365, NOW)


def test_a_pem_name_makes_a_pem_file(tmp_path: Path) -> None:
    make_identity(tmp_path / "c.pem", tmp_path / "k.pem", ["box"], 10, NOW)
    assert (tmp_path / "c.pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert read_identity(tmp_path / "c.pem", tmp_path / "k.pem", NOW).uri == "urn:box:neverblink"


def test_every_mistake_with_our_own_files_is_a_sentence(tmp_path: Path) -> None:
    ours, key = certificate(tmp_path, "bridge")
    _, other_key = certificate(tmp_path, "other")
    assert "neverblink bridge certificate" in fault(tmp_path / "none.der", tmp_path / "none.pem")
    assert f"{tmp_path / 'none.pem'} cannot be read: No such file" in fault(ours, tmp_path / "none.pem")
    assert f"{tmp_path} cannot be read: Is a directory" in fault(ours, tmp_path)
    assert f"the key {other_key} does not fit the certificate {ours}" in fault(ours, other_key)
    assert "holds no certificate: it is a private key" in fault(key, key)
    assert "holds no private key that can be read" in fault(ours, ours)

    old, old_key = certificate(tmp_path, "old", valid_to=timedelta(hours=-1))
    assert f"our certificate {old} expired on" in fault(old, old_key)
    new, new_key = certificate(tmp_path, "new", valid_from=timedelta(hours=2))
    assert "is not valid before" in fault(new, new_key)
    assert "set the clock" in fault(new, new_key)
    bare, bare_key = certificate(tmp_path, "bare", uri=None)
    assert "has no application URI" in fault(bare, bare_key)

    locked = tmp_path / "locked.pem"
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(secret, rsa.RSAPrivateKey)
    cipher = serialization.BestAvailableEncryption(b"x")
    locked.write_bytes(secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
    assert "is locked with a password" in fault(ours, locked)
    curve = tmp_path / "curve.pem"
    curve.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    assert "is no RSA key" in fault(ours, curve)


def test_a_key_never_stands_in_a_message(tmp_path: Path) -> None:
    ours, key = certificate(tmp_path, "bridge")
    secret = key.read_text().splitlines()[1]
    for said in (fault(key, key), fault(ours, ours), fault(ours, certificate(tmp_path, "other")[1])):
        assert secret not in said


def test_a_trust_folder_believes_what_a_person_put_there_and_keeps_the_rest_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "plcs"
    folder.mkdir()
    shown, _ = make("plc")
    said = distrust(folder, shown)
    (kept,) = (folder / "rejected").iterdir()
    assert thumbprint(shown) in said
    assert f"move {kept} to {folder}" in said
    distrust(folder, shown)
    assert len(list((folder / "rejected").iterdir())) == 1
    kept.rename(folder / kept.name)
    TrustFolder(folder).check(shown, "another-name", "urn:whatever", NOW)

    for number in range(MAX_REJECTED + 3):
        (folder / "rejected" / f"{number}.der").write_bytes(b"")
    assert "export the certificate from the PLC" in distrust(folder, make("stranger")[0])
    assert "cannot be read" in distrust(tmp_path / "nowhere", shown)
    (folder / "notes.txt").write_text("call Anna")
    assert "notes.txt holds no certificate" in distrust(folder, shown)


def test_an_expired_plc_certificate_is_not_believed_even_when_trusted(tmp_path: Path) -> None:
    certificate(tmp_path, "plc", valid_to=timedelta(hours=-1))
    (tmp_path / "plc.pem").unlink()
    assert "expired on" in distrust(tmp_path, read_certificate(tmp_path / "plc.der"))


def test_an_authority_vouches_only_for_the_plc_that_its_certificate_names(tmp_path: Path) -> None:
    authority = make("authority", authority=True)
    (tmp_path / "authority.der").write_bytes(as_der(authority[0]))
    good, _ = make("plc", hosts=("plc-1",), signer=authority)
    TrustFolder(tmp_path).check(good, "plc-1", "urn:neverblink:plc", NOW)
    assert "not for plc-2" in distrust(tmp_path, good, host="plc-2")
    assert "its certificate is for 'urn:neverblink:plc'" in distrust(tmp_path, good, host="plc-1", uri="urn:plc:2")

    signer = make("no-authority")
    (tmp_path / "no-authority.der").write_bytes(as_der(signer[0]))
    assert "not trusted" in distrust(tmp_path, make("plc", signer=signer)[0])
    forged = make("authority", authority=True)
    assert "not trusted" in distrust(tmp_path, make("plc", signer=forged)[0])


def test_the_first_certificate_of_a_chain_is_the_servers_own() -> None:
    (own, _), (issuer, _) = make("plc"), make("authority")
    assert first_of_chain(as_der(own) + as_der(issuer)) == own
    assert first_of_chain(as_der(own)) == own
    with pytest.raises(CertificateError, match="not a readable certificate"):
        first_of_chain(b"")


PLANT = """\
site: demo
products: [{name: pcb, artifact: pcb-1}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 0.5, speed_m_s: 1.0, actuator_ms: 100}
    plc: {endpoint: "opc.tcp://127.0.0.1:4840", security: SECURITY}
    stations:
      - {name: top, product: pcb, source: {kind: simulated, drawing: pcb}, trigger: {kind: plc}}
"""


def test_the_command_makes_what_the_plant_file_names_and_says_what_to_do_next(tmp_path: Path) -> None:
    ours, key = tmp_path / "c.der", tmp_path / "k.pem"
    plant = parse_plant(PLANT.replace("SECURITY", f"{{certificate: {ours}, key: {key}, trusted: {tmp_path / 'plcs'}}}"))
    said = "\n".join(make_certificates(plant, None, ["box-7.plant"], 100))
    assert (tmp_path / "plcs").is_dir()
    assert f"{tmp_path / 'plcs'}: the PLCs that we trust; their certificates belong here" in said
    assert f"let every PLC trust {ours}" in said
    assert read_identity(ours, key, NOW + timedelta(minutes=1)).uri in said
    with pytest.raises(CertificateError, match="is there already"):
        list(make_certificates(plant, None, [], 100))
    insecure = parse_plant(PLANT.replace("SECURITY", '{policy: "None", allow_insecure: true}'))
    with pytest.raises(PlantError, match="need no certificate"):
        list(make_certificates(insecure, None, [], 100))


def test_the_command_line_makes_a_pair_and_prints_the_nodes_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(PLANT.replace("SECURITY", "{certificate: c.der, key: k.pem, trusted: plcs}"))
    run = CliRunner().invoke
    made = run(app, ["bridge", "certificate", "--plant", str(path), "--days", "30"])
    assert made.exit_code == 0
    assert f"let every PLC trust {tmp_path / 'c.der'}" in made.output
    assert read_identity(tmp_path / "c.der", tmp_path / "k.pem", datetime.now(UTC)).uri in made.output
    again = run(app, ["bridge", "certificate", "--plant", str(path)])
    assert again.exception is not None
    assert "is there already" in str(sentence_of(again.exception))

    nodes = run(app, ["bridge", "nodes", "--plant", str(path), "--line", "line-1"])
    assert "s=VisionReject.BridgeHb" in nodes.output
    assert run(app, ["bridge", "nodes"]).output == node_list()
    assert run(app, ["bridge", "nodes", "--line", "line-1"]).exit_code == 2
    assert run(app, ["bridge", "--line", "line-1", "nodes"]).exit_code == 2
