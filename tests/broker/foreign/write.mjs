// node write.mjs BOOTSTRAP TOPIC CODEC: writes the records that come as JSON, one a line, on standard input.
import { readFileSync } from "node:fs";
import kafkajs from "kafkajs";

const [bootstrap, topic, codec] = process.argv.slice(2);
const kafka = new kafkajs.Kafka({ clientId: "mes", brokers: [bootstrap], logLevel: kafkajs.logLevel.ERROR });
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
await producer.connect();
const messages = readFileSync(0, "utf8").trim().split("\n").map((line) => {
  const { key, headers, value } = JSON.parse(line);
  return { key, headers: Object.fromEntries(headers), value: Buffer.from(value, "base64") };
});
const compression = codec === "gzip" ? kafkajs.CompressionTypes.GZIP : kafkajs.CompressionTypes.None;
await producer.send({ topic, acks: -1, compression, messages });
await producer.disconnect();
