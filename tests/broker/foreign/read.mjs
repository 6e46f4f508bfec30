// node read.mjs BOOTSTRAP COUNT TOPIC…: prints COUNT records of topics, one JSON object a line.
import kafkajs from "kafkajs";

const [bootstrap, count, ...topics] = process.argv.slice(2);
const kafka = new kafkajs.Kafka({ clientId: "mes", brokers: [bootstrap], logLevel: kafkajs.logLevel.ERROR });
const consumer = kafka.consumer({ groupId: `mes-${process.pid}` });
await consumer.connect();
await consumer.subscribe({ topics, fromBeginning: true });
let left = Number(count);
await new Promise((done, failed) => {
  consumer.on(consumer.events.CRASH, ({ payload }) => failed(payload.error));
  consumer.run({
    eachMessage: async ({ topic, message }) => {
      const headers = Object.entries(message.headers).map(([name, value]) => [name, value.toString()]);
      const json = message.headers["content-type"].toString() === "application/json";
      const told = {
        topic,
        key: message.key.toString(),
        headers,
        value: message.value.toString("base64"),
        data: json ? JSON.parse(message.value) : null,
      };
      console.log(JSON.stringify(told));
      if (--left === 0) done();
    },
  });
});
await consumer.disconnect();
