#!/usr/bin/perl
# Publishes one event: perl publish.pl TOPIC DATA
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP qw(decode_json);

sub publish {
    my ($topic, $data, $event) = @_;
    my $base = $ENV{REVENPROX_URL} // 'http://localhost:8080';
    # Arguments are bytes here, UTF-8 as they came, and so is what is sent.
    my $path = $topic =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger;
    my $answer = HTTP::Tiny->new(timeout => 10)->post(
        "$base/events/$path?event=$event",
        {
            headers => {
                'Authorization'   => 'Bearer ' . ($ENV{REVENPROX_TOKEN} // ''),
                # With the same key a second attempt is not a second event.
                'Idempotency-Key' => $ENV{IDEMPOTENCY_KEY} // join('-', $$, time, int rand 1e9),
                'Content-Type'    => 'text/plain; charset=utf-8',
            },
            content => $data,
        }
    );
    die "$answer->{status}: $answer->{content}\n" unless $answer->{status} == 202;
    return decode_json($answer->{content})->{id};
}

print publish($ARGV[0], $ARGV[1], 'order'), "\n";
