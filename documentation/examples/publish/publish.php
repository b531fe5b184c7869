<?php
// Publishes one event: php publish.php TOPIC DATA
declare(strict_types=1);

function publish(string $topic, string $data, string $event = 'order'): string
{
    $base = getenv('REVENPROX_URL') ?: 'http://localhost:8080';
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => [
            'Authorization: Bearer ' . getenv('REVENPROX_TOKEN'),
            // With the same key a second attempt is not a second event.
            'Idempotency-Key: ' . (getenv('IDEMPOTENCY_KEY') ?: bin2hex(random_bytes(16))),
            'Content-Type: text/plain; charset=utf-8',
        ],
        'content' => $data,
        'timeout' => 10,
        'ignore_errors' => true,
    ]]);
    $url = $base . '/events/' . rawurlencode($topic) . '?event=' . rawurlencode($event);
    $body = file_get_contents($url, false, $context);
    if ($body === false) {
        throw new RuntimeException('no answer');
    }
    if (!str_contains($http_response_header[0], ' 202 ')) {
        throw new RuntimeException($http_response_header[0] . ': ' . $body);
    }
    return json_decode($body, true, flags: JSON_THROW_ON_ERROR)['id'];
}

echo publish($argv[1], $argv[2]), "\n";
