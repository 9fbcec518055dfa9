// SPDX-License-Identifier: BSD-3-Clause
// fragments_test.cc - the books on IPv4 fragments.
#include "slirp/fragments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace rp::slirp {
namespace {

Fragments::Key key(unsigned id) {
  return {1, 2, static_cast<std::uint16_t>(id), 17};
}

TEST(Fragments, T_NAT_9_WholeDatagramInAnyOrderAfterItsFirst) {
  std::mt19937 random(1);
  for (unsigned round = 0; round < 200; ++round) {
    Fragments f;
    std::vector<Fragments::Piece> pieces;
    for (std::uint32_t at = 0; at < 1600; at += 160)
      pieces.push_back({at, 160, at + 160 < 1600, at == 0 ? 1600u : 0u});
    std::shuffle(pieces.begin() + 1, pieces.end(), random);
    for (const auto& p : pieces) EXPECT_TRUE(f.admit(1, key(round), p, 0s));
    EXPECT_FALSE(f.pending(0s));
  }
}

TEST(Fragments, T_NAT_9_ATailDoesNotComeFirst) {
  Fragments f;
  EXPECT_FALSE(f.admit(1, key(1), {456, 575, false}, 0s));
  EXPECT_FALSE(f.admit(1, key(2), {80, 80, true}, 0s));
  EXPECT_FALSE(f.pending(0s)) << "nothing of it is kept";
  EXPECT_TRUE(f.admit(1, key(1), {0, 456, true, 1031}, 0s));
  EXPECT_TRUE(f.admit(1, key(1), {456, 575, false}, 0s));
}

TEST(Fragments, T_NAT_9_OverlapKillsTheDatagramUntilItExpires) {
  Fragments f;
  EXPECT_TRUE(f.admit(1, key(1), {0, 80, true, 200}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {72, 80, true}, 1s));
  EXPECT_FALSE(f.admit(1, key(1), {80, 120, false}, 2s));  // would have completed it
  EXPECT_TRUE(f.pending(34s));
  EXPECT_FALSE(f.pending(35s));
  EXPECT_TRUE(f.admit(1, key(1), {0, 80, true, 200}, 35s));
}

TEST(Fragments, T_NAT_9_TeardropAndDuplicates) {
  Fragments f;
  EXPECT_TRUE(f.admit(1, key(1), {0, 48, true}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {24, 4, false}, 0s));
  EXPECT_TRUE(f.admit(1, key(2), {0, 48, true}, 0s));
  EXPECT_FALSE(f.admit(1, key(2), {0, 48, true}, 0s));
}

TEST(Fragments, T_NAT_9_TotalOver65535) {
  Fragments f;
  EXPECT_FALSE(f.admit(1, key(1), {65512, 8, false}, 0s));
  EXPECT_FALSE(f.admit(1, key(2), {65528, 1, false}, 0s));
  EXPECT_TRUE(f.admit(1, key(3), {0, 8, true}, 0s));
  EXPECT_TRUE(f.admit(1, key(3), {65512, 3, false}, 0s));
}

TEST(Fragments, T_NAT_9_OddOrEmptyPieces) {
  Fragments f;
  EXPECT_FALSE(f.admit(1, key(1), {0, 0, true}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {8, 0, false}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {0, 12, true}, 0s));
  EXPECT_FALSE(f.pending(0s));
  EXPECT_TRUE(f.admit(1, key(1), {0, 16, true}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {16, 0, false}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {16, 8, false}, 0s));
}

TEST(Fragments, T_NAT_9_ContradictedLength) {
  Fragments f;
  EXPECT_TRUE(f.admit(1, key(1), {0, 80, true, 100}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {80, 80, false}, 0s));  // 160, not 100
  EXPECT_TRUE(f.admit(1, key(2), {0, 80, true, 100}, 0s));
  EXPECT_FALSE(f.admit(1, key(2), {80, 8, false}, 0s));  // completes, 88
  EXPECT_TRUE(f.admit(1, key(3), {0, 72, true}, 0s));
  EXPECT_TRUE(f.admit(1, key(3), {80, 8, false}, 0s));
  EXPECT_FALSE(f.admit(1, key(3), {88, 8, true}, 0s));  // past the end
}

TEST(Fragments, T_NAT_9_NeverFinishedIsCapped) {
  Fragments f;
  unsigned let_through = 0;
  for (unsigned i = 0; i < 1000000; ++i) {
    const Fragments::Key k{1 + i / 65536, 2, static_cast<std::uint16_t>(i), 17};
    let_through += f.admit(i % 8, k, {0, 8, true}, 0s);
  }
  EXPECT_EQ(let_through, Fragments::kAll);
  EXPECT_FALSE(f.admit(100, key(1), {0, 8, true}, 34s));
  EXPECT_TRUE(f.admit(100, key(1), {0, 8, true}, 35s));
}

TEST(Fragments, T_NAT_9_OnePortHasItsShare) {
  Fragments f;
  for (unsigned i = 0; i < 100; ++i)
    EXPECT_EQ(f.admit(1, key(i), {0, 8, true}, 0s), i < Fragments::kPerPort);
  EXPECT_TRUE(f.admit(2, key(500), {0, 8, true}, 0s));
  EXPECT_FALSE(f.admit(2, key(0), {8, 8, true}, 0s));  // port 1's datagram
}

TEST(Fragments, T_NAT_9_PiecesAreCapped) {
  Fragments f;
  for (unsigned i = 0; i < 200; ++i)
    EXPECT_EQ(f.admit(1, key(1), {i * 8, 8, true}, 0s), i < Fragments::kMaxPieces);
}

TEST(Fragments, T_NAT_9_LatePiecesAreRefused) {
  Fragments f;
  EXPECT_TRUE(f.admit(1, key(1), {0, 80, true}, 0s));
  EXPECT_FALSE(f.admit(1, key(1), {80, 80, false}, Fragments::kAccepts));
  EXPECT_TRUE(f.pending(30s));
}

}  // namespace
}  // namespace rp::slirp
