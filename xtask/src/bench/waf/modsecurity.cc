// Measures libmodsecurity for `cargo xtask bench waf`, which says the protocol (engine.rs): loads the
// rules once, then runs transactions (request phases) as it is told on standard input.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <modsecurity/intervention.h>
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

namespace {

using Clock = std::chrono::steady_clock;

struct Request {
    std::string method;
    std::string target;
    // As libmodsecurity wants it: without `HTTP/`.
    std::string version;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
};

// One raw HTTP/1.1 request; the file is the benchmark's own, so it is not checked.
Request parse(const std::string &raw) {
    Request request;
    size_t end = raw.find("\r\n");
    std::istringstream first(raw.substr(0, end));
    std::string protocol;
    first >> request.method >> request.target >> protocol;
    request.version = protocol.substr(5);
    size_t at = end + 2;
    while ((end = raw.find("\r\n", at)) != at) {
        size_t colon = raw.find(": ", at);
        request.headers.emplace_back(raw.substr(at, colon - at),
                                     raw.substr(colon + 2, end - colon - 2));
        at = end + 2;
    }
    request.body = raw.substr(at + 2);
    return request;
}

std::vector<Request> load(const std::string &path) {
    std::vector<Request> requests;
    std::ifstream file(path, std::ios::binary);
    std::string word;
    size_t length = 0;
    while (file >> word >> length) {
        file.get();
        std::string raw(length, '\0');
        file.read(&raw[0], static_cast<std::streamsize>(length));
        requests.push_back(parse(raw));
    }
    return requests;
}

bool stopped(modsecurity::Transaction *transaction) {
    modsecurity::ModSecurityIntervention intervention;
    modsecurity::intervention::clean(&intervention);
    bool stop = transaction->intervention(&intervention) && intervention.disruptive != 0;
    modsecurity::intervention::free(&intervention);
    return stop;
}

const unsigned char *bytes(const std::string &text) {
    return reinterpret_cast<const unsigned char *>(text.data());
}

bool inspect(modsecurity::ModSecurity *engine, modsecurity::RulesSet *rules,
             const Request &request) {
    modsecurity::Transaction transaction(engine, rules, nullptr);
    transaction.processConnection("203.0.113.7", 40000, "192.0.2.1", 80);
    transaction.processURI(request.target.c_str(), request.method.c_str(),
                           request.version.c_str());
    for (const auto &header : request.headers) {
        transaction.addRequestHeader(bytes(header.first), header.first.size(),
                                     bytes(header.second), header.second.size());
    }
    transaction.processRequestHeaders();
    if (stopped(&transaction)) {
        return true;
    }
    if (!request.body.empty()) {
        transaction.appendRequestBody(bytes(request.body), request.body.size());
    }
    transaction.processRequestBody();
    return stopped(&transaction);
}

// Nanoseconds that the process has spent so far, in all its threads.
long processor_time() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

void quiet(void *, const void *) {}

}  // namespace

int main(int count, char **arguments) {
    if (count != 2) {
        std::cout << "error usage: modsecurity RULES" << std::endl;
        return 3;
    }
    auto engine = std::make_unique<modsecurity::ModSecurity>();
    engine->setServerLogCb(quiet);
    auto rules = std::make_unique<modsecurity::RulesSet>();
    auto began = Clock::now();
    if (rules->loadFromUri(arguments[1]) < 0) {
        std::cout << "error " << rules->getParserError() << std::endl;
        return 3;
    }
    auto spent = Clock::now() - began;
    std::cout << "ready " << std::chrono::duration_cast<std::chrono::microseconds>(spent).count()
              << " libmodsecurity " << MODSECURITY_MAJOR << "." << MODSECURITY_MINOR << "."
              << MODSECURITY_PATCHLEVEL << std::endl;

    std::vector<Request> requests;
    size_t next = 0;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string verb;
        words >> verb;
        if (verb == "load") {
            std::string path;
            std::getline(words >> std::ws, path);
            requests = load(path);
            next = 0;
            std::cout << "loaded " << requests.size() << std::endl;
        } else if (verb == "run" && !requests.empty()) {
            size_t most = 0;
            long milliseconds = 0;
            words >> most >> milliseconds;
            auto deadline = Clock::now() + std::chrono::milliseconds(milliseconds);
            std::vector<long> times;
            size_t blocked = 0;
            long before = processor_time();
            do {
                const Request &request = requests[next++ % requests.size()];
                auto start = Clock::now();
                bool stop = inspect(engine.get(), rules.get(), request);
                auto end = Clock::now();
                times.push_back(static_cast<long>(
                    std::chrono::duration_cast<std::chrono::nanoseconds>(end - start).count()));
                blocked += stop ? 1 : 0;
            } while (times.size() < most && Clock::now() < deadline);
            long spent = processor_time() - before;
            std::sort(times.begin(), times.end());
            std::cout << "ran " << times.size() << " " << blocked << " "
                      << times[times.size() / 2] << " "
                      << spent / static_cast<long>(times.size()) << std::endl;
        } else {
            std::cout << "error not understood: " << line << std::endl;
        }
    }
    return 0;
}
