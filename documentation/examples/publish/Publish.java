// Publishes one event: java Publish.java TOPIC DATA
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Optional;
import java.util.UUID;

public class Publish {
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    static String environment(String name, String otherwise) {
        return Optional.ofNullable(System.getenv(name)).orElse(otherwise);
    }

    static String publish(String topic, String data, String event) throws Exception {
        // URLEncoder is for forms, where a space is a plus; in a path it is %20.
        String path = URLEncoder.encode(topic, StandardCharsets.UTF_8).replace("+", "%20");
        URI address = URI.create(environment("REVENPROX_URL", "http://localhost:8080")
                + "/events/" + path + "?event=" + URLEncoder.encode(event, StandardCharsets.UTF_8));
        HttpRequest request = HttpRequest.newBuilder(address)
                .timeout(Duration.ofSeconds(10))
                .header("Authorization", "Bearer " + environment("REVENPROX_TOKEN", ""))
                // With the same key a second attempt is not a second event.
                .header("Idempotency-Key", environment("IDEMPOTENCY_KEY", UUID.randomUUID().toString()))
                .POST(HttpRequest.BodyPublishers.ofString(data, StandardCharsets.UTF_8))
                .build();
        HttpResponse<String> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 202) {
            throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        }
        return answer.body();
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println(publish(arguments[0], arguments[1], "order"));
    }
}
