// SPDX-License-Identifier: BSD-3-Clause
// control_server.h - answers on a switch's control socket, one line of JSON for one line of JSON.
//
// Runs on GLib's default main context, away from the switch's thread, and waits for nobody: each
// client has kPatience seconds from connecting to the end of its answer, a request has at most
// kLongestRequest bytes, and at most kMostClients are there at a time. One more makes the oldest
// go, so that a crowd that says nothing keeps nobody out.
#pragma once

#include <glib.h>

#include <cstddef>
#include <functional>
#include <list>
#include <string>

namespace rp::tools {

class ControlServer {
 public:
  static constexpr std::size_t kLongestRequest = 4096, kMostClients = 64;
  static constexpr unsigned kPatience = 10;

  /// Gives the line that answers a line; neither has its newline.
  using Answer = std::function<std::string(const std::string& request)>;

  /// Accepts on the descriptor, which stays its owner's and must be non-blocking.
  ControlServer(int listener, Answer answer);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Client {
    Client(ControlServer& s, int fd);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void watch(GIOCondition what);
    /// False: the client is done with.
    bool read();
    bool write();

    ControlServer& server;
    int socket;
    guint watched = 0, deadline = 0;  ///< sources of the main context; 0: none
    std::string in, out;
    std::size_t sent = 0;
  };

  void listen();
  void pause_listening();
  void accept();
  void drop(const Client* client);

  int listener_;
  Answer answer_;
  guint listening_ = 0, paused_ = 0;
  std::list<Client> clients_;  ///< the oldest first
};

}  // namespace rp::tools
