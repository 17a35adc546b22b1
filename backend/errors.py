"""The errors of the backend, as one tree.

    BackendError
    ├── SettingsError            the environment asks for something impossible; the service does not start
    ├── UsageError               the arguments of a command contradict each other or the files on disk
    ├── ListenError              the address or port to listen on is taken or not allowed
    ├── StoreError               the state file cannot be read or written
    ├── DataFolderError          another backend uses the data folder, or nothing can be written there
    ├── LockedError              another process has locked a file; whoever locks it says what that means
    ├── RequestError             the caller sent something unusable; becomes a 4xx answer
    │   ├── UnusableLabelConfigError  a label config from which no vocabulary can be made
    │   └── NothingThereError    a page of something that the service does not know; becomes a 404 answer
    ├── BusyError                all places for predictions are taken; becomes a 503 answer
    ├── LabelStudioAPIError      Label Studio refused or did not answer
    │   ├── NoSuchProjectError   it has no such project, or none that the token's user may see
    │   ├── NoSuchTaskError      the project has no such task
    │   ├── LabelStudioSlowError it failed or was too slow; asked for less, it may answer
    │   │   └── LabelStudioTimeoutError  it, or a proxy before it, took too long; it may still be at work
    │   ├── LabelStudioDownError nothing answers at its address
    │   └── LabelStudioRefusedError  it does not take what was sent to it
    ├── NoAnswerError            a server could not be reached, broke off or took too long; whoever asked it says which
    └── ImageSourceError         an image of a task cannot be fetched or read
        ├── ImageReferenceError  the task holds no reference that may be fetched
        ├── ImageBlockedError    the settings do not allow the address
        ├── ImageFetchError      the server did not deliver the image
        ├── ImageTooLargeError   the image has more bytes or pixels than the settings allow
        ├── ImageDecodeError     the bytes are not a picture that can be read
        └── ImageWaitError       other images left no room in memory for it in time

The errors of the demo are a branch of their own: `backend.demo.errors`.

Each message says what was wrong, which value caused it, and what to do. Messages hold no secrets, because they may
reach a client.
"""


class BackendError(Exception):
    """Base of all errors of this package."""


class SettingsError(BackendError):
    """The environment holds an unknown, malformed or contradictory setting."""


class UsageError(BackendError):
    """The arguments of a command contradict each other or the files on disk; nothing was done."""


class ListenError(BackendError):
    """The address or port to listen on is taken or not allowed."""


class StoreError(BackendError):
    """The state file cannot be read or written."""


class DataFolderError(BackendError):
    """Another backend uses the data folder, or nothing can be written there."""


class LockedError(BackendError):
    """Another process has locked a file; the message names the process alone."""


class RequestError(BackendError):
    """The request cannot be served as it is; the caller must change it."""


class NothingThereError(RequestError):
    """What was asked for is not known here, such as a project that was never connected."""


class UnusableLabelConfigError(RequestError):
    """No vocabulary can be made from this label config."""


class BusyError(BackendError):
    """Every place for a prediction is taken; the caller may ask again later."""


class LabelStudioAPIError(BackendError):
    """Label Studio refused a request of ours or did not answer."""


class NoSuchProjectError(LabelStudioAPIError):
    """Label Studio has no project of this number, or none that the token's user may see."""


class NoSuchTaskError(LabelStudioAPIError):
    """The project has no task of this number."""


class LabelStudioSlowError(LabelStudioAPIError):
    """Label Studio failed (5xx) or took too long; a request for less may be answered."""


class LabelStudioTimeoutError(LabelStudioSlowError):
    """Label Studio took too long for us, or for a proxy before it (504): it may still be at work on the request."""


class LabelStudioDownError(LabelStudioAPIError):
    """Nothing answers at Label Studio's address, or the connection broke; a later request may be answered."""


class LabelStudioRefusedError(LabelStudioAPIError):
    """Label Studio does not take what was sent to it; the same request would be refused again."""


class NoAnswerError(BackendError):
    """A server could not be reached, broke off or took too long; the message is the bare reason."""


class ImageSourceError(BackendError):
    """An image of a task cannot be fetched or read."""


class ImageReferenceError(ImageSourceError):
    """The task holds no reference that may be fetched."""


class ImageBlockedError(ImageSourceError):
    """The settings do not allow the address of the image."""


class ImageFetchError(ImageSourceError):
    """The server did not deliver the image."""


class ImageTooLargeError(ImageSourceError):
    """The image has more bytes or pixels than the settings allow."""


class ImageDecodeError(ImageSourceError):
    """The bytes are not a picture that can be read."""


class ImageWaitError(ImageSourceError):
    """Other images left no room in memory for this one in the time that it had."""
