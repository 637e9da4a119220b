// The verbs of `batonctl queue`.
#pragma once

namespace baton::ctl {

int queueListVerb(int argc, char** argv);
int queueShowVerb(int argc, char** argv);
int queueCreateVerb(int argc, char** argv);
int queueRemoveVerb(int argc, char** argv);
int queuePutVerb(int argc, char** argv);
int queueGetVerb(int argc, char** argv);
int queueRunVerb(int argc, char** argv);
int queueAckVerb(int argc, char** argv);
int queueNackVerb(int argc, char** argv);
int queuePeekVerb(int argc, char** argv);
int queueCloseVerb(int argc, char** argv);
int queuePauseVerb(int argc, char** argv);
int queueResumeVerb(int argc, char** argv);
int queuePurgeVerb(int argc, char** argv);

}  // namespace baton::ctl
