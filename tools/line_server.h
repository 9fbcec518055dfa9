// SPDX-License-Identifier: BSD-3-Clause
// line_server.h - answers lines on a stream socket: programs' requests, people's commands.
//
// Runs on GLib's default main context, away from the switch's thread, and waits for nobody: a
// client that does not read its answer is not read from, a line has at most kLongestLine bytes, and
// at most kMostClients are there at a time. One more makes the oldest go, so that a crowd that says
// nothing keeps nobody out.
#pragma once

#include <glib.h>

#include <cstddef>
#include <functional>
#include <list>
#include <string>

namespace rp::tools {

class LineServer {
 public:
  static constexpr std::size_t kLongestLine = 4096, kMostClients = 64;

  struct Reply {
    std::string text;  ///< sent as it is
    bool last = true;  ///< close when it was sent
  };
  /// Answers a line, which has no newline. One that is longer than kLongestLine comes cut, and its
  /// reply is the last one.
  using Answer = std::function<Reply(const std::string& line)>;

  struct Options {
    std::string greeting;   ///< sent to whoever connects
    unsigned patience = 0;  ///< seconds that a client may stay; 0: as long as it likes
    /// What came without a newline is a line when nothing follows: vdeterm sends none.
    bool newline_optional = false;
  };

  /// Accepts on the descriptor, which stays its owner's and must be non-blocking.
  LineServer(int listener, Options options, Answer answer);
  ~LineServer();
  LineServer(const LineServer&) = delete;
  LineServer& operator=(const LineServer&) = delete;

 private:
  struct Client {
    Client(LineServer& s, int fd);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void watch(GIOCondition what);
    /// False: the client is done with.
    bool read();
    bool write();
    void answer(bool nothing_follows);

    LineServer& server;
    int socket;
    guint watched = 0, deadline = 0;  ///< sources of the main context; 0: none
    std::string in, out;
    std::size_t sent = 0;
    bool last = false;  ///< nothing is read any more
    bool more = false;  ///< the last read filled its buffer
  };

  void listen();
  void pause_listening();
  void accept();
  void drop(const Client* client);

  int listener_;
  Options options_;
  Answer answer_;
  guint listening_ = 0, paused_ = 0;
  std::list<Client> clients_;  ///< the oldest first
};

}  // namespace rp::tools
