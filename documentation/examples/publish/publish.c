/* Publishes one event: publish TOPIC DATA
 * cc publish.c -o publish $(pkg-config --cflags --libs libcurl) */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

/* Appends `name: value` to the headers of a request. */
static struct curl_slist *header(struct curl_slist *list, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    if (!line)
        return list;
    snprintf(line, size, "%s: %s", name, value);
    list = curl_slist_append(list, line);
    free(line);
    return list;
}

/* Gives back 0 if the event was accepted. The answer goes to the standard output. */
static int publish(const char *topic, const char *data, const char *event)
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return 1;

    char key[64], url[4096], bearer[8300];
    snprintf(key, sizeof key, "%ld-%ld", (long)getpid(), (long)time(NULL));
    snprintf(bearer, sizeof bearer, "Bearer %s", environment("REVENPROX_TOKEN", ""));
    char *name = curl_easy_escape(curl, topic, 0);
    snprintf(url, sizeof url, "%s/events/%s?event=%s", environment("REVENPROX_URL", "http://localhost:8080"), name, event);
    curl_free(name);

    struct curl_slist *headers = header(NULL, "Authorization", bearer);
    /* With the same key a second attempt is not a second event. */
    headers = header(headers, "Idempotency-Key", environment("IDEMPOTENCY_KEY", key));
    headers = header(headers, "Content-Type", "text/plain; charset=utf-8");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, data);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);

    CURLcode result = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK)
        fprintf(stderr, "%s\n", curl_easy_strerror(result));
    else if (status != 202)
        fprintf(stderr, "answered with %ld\n", status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return result == CURLE_OK && status == 202 ? 0 : 1;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: publish TOPIC DATA\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int result = publish(arguments[1], arguments[2], "order");
    curl_global_cleanup();
    return result;
}
