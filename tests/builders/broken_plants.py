"""A whole plant file whose every setting can be broken, and what it names outside of itself, all in order."""

from datetime import timedelta
from pathlib import Path

from small_artifacts import write_artifact

from rigs.application_certificates import certificate

WHOLE = """\
site: plant-1
kafka:
  bootstrap: 127.0.0.1:9092
  partitions: 48
  security:
    protocol: SASL_SSL
    ca_file: kafka-ca.der
    username: neverblink
    password_file: kafka-password
storage:
  artifacts: artifacts
  objects_keep_h: 12
scorer:
  device: cpu
  max_batch: 8
drift:
  time_zone: UTC
  shifts_begin_h: [6, 14, 22]
records:
  api:
    cert_file: api-certificate.pem
    key_file: api.pem
  shifts:
    - {name: early, begins: "06:00"}
    - {name: late, begins: "14:00"}
  reviewing:
    reviewers:
      - {name: m.okafor, lines: [line-1]}
proof:
  audit: {share: 0.1, products: {pcb: 0.2}}
  golden: {sets: {pcb: golden}}
  challenges:
    schedule:
      - {line: line-1, references: [scratch-07], shifts: [early]}
products:
  - name: pcb
    artifact: pcb-3
    defects: {types: {scratch: {min_area_px: 9}}}
  - name: disc
    artifact: disc-1
lines:
  - name: line-1
    timing:
      distance_to_gate_m: 2.0
      speed_m_s: 1.0
    plc:
      endpoint: opc.tcp://127.0.0.1:4840
      security:
        certificate: ours.der
        key: ours.pem
        plc_certificate: plc.der
        username: bridge
        password_file: plc-password
    stations:
      - name: top
        product: pcb
        source: {kind: folder, path: pictures}
        trigger: {kind: plc}
  - name: line-2
    timing: {distance_to_gate_m: 2.0, speed_m_s: 1.0}
    plc:
      endpoint: opc.tcp://127.0.0.1:4841
      security: {certificate: ours.der, key: ours.pem, trusted: plcs}
    stations:
      - name: top
        product: disc
        source: {kind: rtsp, url: "rtsp://127.0.0.1:8554/x", username: me, password_file: camera-password}
        trigger: {kind: plc}
"""


def surroundings(folder: Path) -> None:
    """Write the plant file and all that it names."""
    for secret in ("kafka-password", "plc-password", "camera-password"):
        (folder / secret).write_text("s3cret\n")
        (folder / secret).chmod(0o600)
    for name in ("kafka-ca", "ours", "plc"):
        certificate(folder, name)
    certificate(folder, "api", pem=True)
    for key in folder.glob("*.pem"):
        key.chmod(0o600)
    for product, artifact in (("pcb", "pcb-3"), ("disc", "disc-1")):
        write_artifact(folder / "artifacts", artifact, product=product)
    (folder / "golden").mkdir()
    (folder / "pictures").mkdir()
    (folder / "pictures" / "1.png").write_bytes(b"a picture")
    (folder / "plcs").mkdir()
    certificate(folder / "plcs", "plc-2", valid_to=timedelta(days=400))
    (folder / "plant.yaml").write_text(WHOLE)
