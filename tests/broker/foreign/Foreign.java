// java -cp 'JARS/*' Foreign.java read BOOTSTRAP COUNT TOPIC…   prints COUNT records of topics, one JSON object a line
// java -cp 'JARS/*' Foreign.java write BOOTSTRAP TOPIC CODEC   writes those that come so on standard input
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Foreign {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        List<String> rest = List.of(arguments).subList(2, arguments.length);
        if (arguments[0].equals("read")) {
            read(arguments[1], Integer.parseInt(rest.get(0)), rest.subList(1, rest.size()));
        } else {
            write(arguments[1], rest.get(0), rest.get(1));
        }
    }

    static void read(String bootstrap, int count, List<String> topics) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "group.id", "mes-" + ProcessHandle.current().pid(),
                "auto.offset.reset", "earliest", "enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(topics);
            while (count > 0) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(JSON.writeValueAsString(told(record)));
                    count--;
                }
            }
        }
    }

    static ObjectNode told(ConsumerRecord<String, byte[]> record) throws Exception {
        ObjectNode told = JSON.createObjectNode().put("topic", record.topic()).put("key", record.key());
        ArrayNode headers = told.putArray("headers");
        boolean json = false;
        for (Header header : record.headers()) {
            String value = new String(header.value(), StandardCharsets.UTF_8);
            headers.addArray().add(header.key()).add(value);
            json |= header.key().equals("content-type") && value.equals("application/json");
        }
        told.put("value", Base64.getEncoder().encodeToString(record.value()));
        told.set("data", json ? JSON.readTree(record.value()) : null);
        return told;
    }

    static void write(String bootstrap, String topic, String codec) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "compression.type", codec);
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                JsonNode told = JSON.readTree(line);
                byte[] value = Base64.getDecoder().decode(told.get("value").asText());
                var record = new ProducerRecord<>(topic, told.get("key").asText(), value);
                for (JsonNode header : told.get("headers")) {
                    record.headers().add(header.get(0).asText(), header.get(1).asText().getBytes(StandardCharsets.UTF_8));
                }
                producer.send(record).get();
            }
        }
    }
}
