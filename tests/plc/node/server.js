// An OPC UA server that shares no code with ours: a PLC whose program beats its heart, accepts every mail, and has the
// method of profile C where the nodes have no mailbox. argv[2] is JSON: {port, pki, certificate, key, namespace, nodes,
// method, maxSessions, password}. It prints its port when it listens, and runs until it is killed.
"use strict";
const {
  AccessLevelFlag, DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes,
  Variant, VariantArrayType,
} = require("node-opcua");

async function main() {
  const wanted = JSON.parse(process.argv[2]);
  const trust = new OPCUACertificateManager({
    rootFolder: wanted.pki,
    automaticallyAcceptUnknownCertificate: false,
  });
  await trust.initialize();
  const server = new OPCUAServer({
    host: "127.0.0.1",
    port: wanted.port,
    certificateFile: wanted.certificate,
    privateKeyFile: wanted.key,
    serverCertificateManager: trust,
    serverInfo: { applicationUri: "urn:neverblink:plc" },
    serverCapabilities: { maxSessions: wanted.maxSessions },
    securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes256_Sha256_RsaPss],
    securityModes: [MessageSecurityMode.None, MessageSecurityMode.SignAndEncrypt],
    allowAnonymous: wanted.password === null,
    userManager: { isValidUser: (user, password) => user === "bridge" && password === wanted.password },
  });
  await server.initialize();

  const space = server.engine.addressSpace;
  const namespace = space.registerNamespace(wanted.namespace);
  const folder = namespace.addFolder(space.rootFolder.objects, { browseName: "VisionReject", nodeId: "s=VisionReject" });
  const variables = new Map();
  for (const node of wanted.nodes) {
    const access = AccessLevelFlag.CurrentRead | (node.writable ? AccessLevelFlag.CurrentWrite : 0);
    const array = Array.isArray(node.value);
    const variable = namespace.addVariable({
      componentOf: folder,
      browseName: node.name,
      nodeId: node.id,
      dataType: node.type,
      valueRank: array ? 1 : -1,
      arrayDimensions: array ? [node.value.length] : undefined,
      accessLevel: access,
      userAccessLevel: access,
    });
    variable.setValueFromSource(new Variant({
      dataType: DataType[node.type],
      arrayType: array ? VariantArrayType.Array : VariantArrayType.Scalar,
      value: node.value,
    }), StatusCodes.Good);
    variables.set(node.name, variable);
    if (node.name === "PlcHb") {
      let beats = 0;
      setInterval(() => {
        beats += 1;
        variable.setValueFromSource({ dataType: DataType.UInt32, value: beats });
      }, 100);
    }
  }
  const acks = variables.get("AckWord");
  if (acks) {
    setInterval(() => {
      const words = new Uint32Array(8);
      for (let slot = 0; slot < 8; slot += 1) {
        const word = variables.get(`CmdWord[${slot}]`).readValue().value.value;
        words[slot] = word === 0 ? 0 : word - (word % 16) + 1;
      }
      acks.setValueFromSource({ dataType: DataType.UInt32, arrayType: VariantArrayType.Array, value: words });
    }, 10);
  }
  if (wanted.method) {
    const method = namespace.addMethod(folder, {
      browseName: "Reject",
      nodeId: "s=VisionReject.Reject",
      inputArguments: wanted.method.inputs.map(([name, type]) => ({ name, dataType: DataType[type], valueRank: -1 })),
      outputArguments: [{ name: "status", dataType: DataType.UInt16, valueRank: -1 }],
    });
    method.bindMethod((inputs, context, callback) => {
      const [epoch, , part] = inputs.map((input) => input.value);
      const status = epoch !== 1 ? 5 : part > 3 ? 3 : 1;
      callback(null, { statusCode: StatusCodes.Good, outputArguments: [{ dataType: DataType.UInt16, value: status }] });
    });
  }
  await server.start();
  process.stdout.write(`${server.endpoints[0].port}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
