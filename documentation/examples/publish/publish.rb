# Publishes one event: ruby publish.rb TOPIC DATA
require "erb"
require "json"
require "net/http"
require "securerandom"

def publish(topic, data, event: "order")
  base = ENV.fetch("REVENPROX_URL", "http://localhost:8080")
  uri = URI("#{base}/events/#{ERB::Util.url_encode(topic)}?event=#{ERB::Util.url_encode(event)}")
  request = Net::HTTP::Post.new(uri)
  request["Authorization"] = "Bearer #{ENV['REVENPROX_TOKEN']}"
  # With the same key a second attempt is not a second event.
  request["Idempotency-Key"] = ENV["IDEMPOTENCY_KEY"] || SecureRandom.uuid
  request["Content-Type"] = "text/plain; charset=utf-8"
  request.body = data
  answer = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", read_timeout: 10) { |http| http.request(request) }
  raise "#{answer.code}: #{answer.body}" unless answer.code == "202"

  JSON.parse(answer.body)["id"]
end

puts publish(ARGV[0], ARGV[1])
