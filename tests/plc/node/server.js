// An OPC UA server that shares no code with ours: a PLC whose program beats its heart, accepts every mail, and has the
// method of profile C where the nodes have no mailbox. argv[2] is JSON: {port, pki, certificate, key, namespace, nodes,
// method, maxSessions, password}. It prints its port when it listens, and runs until it is killed. Each line on standard
// input is an order, answered by "done": {set: {NAME: value}, status, behindMs}, {drop: true} loses all subscriptions while
// sessions live, {unload: true} takes the nodes away and {load: {NAME: value}} brings them back.
"use strict";
const readline = require("node:readline");
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
  const put = (name, value, status, at) => {
    const node = wanted.nodes.find((one) => one.name === name);
    const array = Array.isArray(value);
    const variant = new Variant({
      dataType: DataType[node.type],
      arrayType: array ? VariantArrayType.Array : VariantArrayType.Scalar,
      value,
    });
    variables.get(name).setValueFromSource(variant, status || StatusCodes.Good, at || new Date());
  };
  const load = (values) => {
    for (const node of wanted.nodes) {
      const access = AccessLevelFlag.CurrentRead | (node.writable ? AccessLevelFlag.CurrentWrite : 0);
      const array = Array.isArray(node.value);
      variables.set(node.name, namespace.addVariable({
        componentOf: folder,
        browseName: node.name,
        nodeId: node.id,
        dataType: node.type,
        valueRank: array ? 1 : -1,
        arrayDimensions: array ? [node.value.length] : undefined,
        accessLevel: access,
        userAccessLevel: access,
      }));
      put(node.name, node.name in values ? values[node.name] : node.value);
    }
  };
  load({});
  let beats = 0;
  setInterval(() => {
    beats += 1;
    if (variables.has("PlcHb")) {
      put("PlcHb", beats);
    }
  }, 100);
  if (variables.has("AckWord")) {
    const acks = variables.get("AckWord");
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
  const obey = (order) => {
    if (order.drop) {
      for (const session of Object.values(server.engine._sessions)) {
        session.publishEngine.subscriptions.forEach((one) => session.deleteSubscription(one.id));
      }
    }
    if (order.unload) {
      variables.forEach((variable) => namespace.deleteNode(variable));
      variables.clear();
    }
    if (order.load) {
      load(order.load);
    }
    for (const [name, value] of Object.entries(order.set || {})) {
      const at = new Date(Date.now() - (order.behindMs || 0));
      put(name, value, order.status && StatusCodes[order.status], at);
    }
  };
  await server.start();
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    obey(JSON.parse(line));
    process.stdout.write("done\n");
  });
  process.stdout.write(`${server.endpoints[0].port}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
