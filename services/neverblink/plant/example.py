"""The plant file that `neverblink plant example` prints."""

EXAMPLE = """\
# A plant file: one site, its lines, and what they inspect. `neverblink plant check FILE` explains mistakes;
# `neverblink plant schema` prints a JSON Schema for editors.
site: plant-1

kafka:
  bootstrap: kafka-1:9092,kafka-2:9092,kafka-3:9092
  partitions: 48            # chosen once: more stations than partitions share them
  security:
    protocol: SASL_SSL
    ca_file: certificates/kafka-ca.pem
    username: neverblink
    password_file: secrets/kafka-password

storage:
  artifacts: artifacts      # relative to this file
  ledger: sqlite:///ledger.db
  objects: s3://plant-1-frames   # images over payload.max_inline_bytes; or a folder that all hosts share

scorer:
  device: cpu               # or cuda
  max_batch: 8
  max_queue_delay_ms: 5

products:
  - name: pcb
    artifact: pcb-3         # artifacts/pcb-3, made by `neverblink fit`
    min_area_px: 9
    defects:                # once the artifact has a U-Net or a classifier
      reject_on: either     # anomaly score or known defect
      types:
        scratch: {taxonomy: surface, min_area_mm2: 0.2}

lines:
  - name: line-1
    timing:
      distance_to_gate_m: 2.0
      speed_m_s: 1.0        # 2 s from trigger to gate
      actuator_ms: 200
      plc_cycle_ms: 20
      margin_ms: 50         # leaves 1.73 s for a verdict
    plc:
      endpoint: opc.tcp://192.0.2.10:4840
      namespace_uri: http://example.com/line-1
      node: s="VisionReject"."{name}"
      slot_node: s="VisionReject"."Verdict"[{index}]
      security:
        certificate: certificates/neverblink.der
        key: secrets/neverblink-key.pem
        plc_certificate: certificates/plc-line-1.der
        username: neverblink
        password_file: secrets/plc-password
    stations:
      - name: top
        product: pcb
        source:             # or folder, video, rtsp, v4l2, simulated: docs/guides/cameras.md
          kind: genicam
          producer: /opt/camera-maker/lib/maker.cti
          serial: "24401234"
          nodes: {PixelFormat: Mono8, ExposureTime: 500, TriggerMode: On, TriggerSource: Line0}
        trigger: {kind: plc}
        payload: {format: png}
        mm_per_px: 0.08
        quality:            # made by `neverblink camera learn-limits`
          width: 1600
          height: 1200
          min_brightness: 0.191
          max_saturation: 0.0131
          min_sharpness: 232
"""
