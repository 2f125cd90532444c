// SPDX-License-Identifier: Apache-2.0
#include "core/wire/signatures.h"

#include <gtest/gtest.h>

#include <string>

namespace forkmill::wire {
namespace {

TEST(Signatures, EqualOnesAgree) {
    for (const char* text : {"", "i32(i32)", "void()", "{px:bin,w:i32}([f64],{str:i32})"})
        EXPECT_TRUE(signatures_agree(text, text)) << text;
}

TEST(Signatures, MembersMayBeAppendedToAnyStruct) {
    const struct {
        const char* older;
        const char* newer;
    } pairs[] = {
        {"{w:i32}(str)", "{w:i32,h:i32}(str)"},
        {"i32({a:i32},str)", "i32({a:i32,b:[{c:(i32,i32)}]},str)"},
        {"i32([{in:{a:i32},z:str}])", "i32([{in:{a:i32,b:f64},z:str,y:<i32|str>}])"},
        {"{a:i32}({b:i32})", "{a:i32,c:str}({b:i32,d:str})"},
    };
    for (const auto& [older, newer] : pairs) {
        EXPECT_TRUE(signatures_agree(older, newer)) << older;
        EXPECT_TRUE(signatures_agree(newer, older)) << newer;
    }
    EXPECT_TRUE(signatures_agree("{a:i32,b:i32}({c:i32})", "{a:i32}({c:i32,d:i32})"))
        << "each side may be ahead somewhere";
}

TEST(Signatures, WhateverElseDiffersIsAnotherTask) {
    const struct {
        const char* one;
        const char* other;
    } pairs[] = {
        {"i32(i32)", "i32(i64)"},
        {"i32(i32)", "i32(i32,i32)"},
        {"i32(i32)", "i32((i32,i32))"},
        {"i32([i32])", "i32([i32,i32])"},
        {"{a:i32}()", "{b:i32}()"},
        {"{a:i32}()", "{b:i32,a:i32}()"},
        {"{a:i32}()", "{a:i64,b:i32}()"},
        {"<i32|str>()", "<i32|str|f64>()"},
        {"i32()", ""},
        {"{a:i32", "{a:i32,b:i32}"},
        {"{a:i32}", "{a:i32,b:i32"},
        {"{a:i32}", "{a:i32,b:i32)"},
        {"{}", "{,"},
    };
    for (const auto& [one, other] : pairs) {
        EXPECT_FALSE(signatures_agree(one, other)) << one << " " << other;
        EXPECT_FALSE(signatures_agree(other, one)) << other << " " << one;
    }
}

}  // namespace
}  // namespace forkmill::wire
