"""The rows that a database keeps of itself: identity, folders, holders, last writes."""

from typing import Literal

from sqlalchemy import CheckConstraint, Text
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables.base import Base, one_of

FolderKind = Literal["lake", "work", "models"]


class IdentityRow(Base):
    """The id that a database got when it was made; its copies and backups have the same."""

    __tablename__ = "database_identity"
    __table_args__ = (CheckConstraint("one = 1", name="one_row"),)

    one: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str]


class FolderRow(Base):
    """Where the files of a database lie: predictions, steps of calculations, checkpoints."""

    __tablename__ = "database_folder"
    __table_args__ = (one_of("kind", FolderKind),)

    kind: Mapped[FolderKind] = mapped_column(Text, primary_key=True)
    host: Mapped[str]  # where it was recorded
    path: Mapped[str]  # absolute, on that host
    at: Mapped[float]  # seconds since 1970, UTC


class CampaignHolderRow(Base):
    """The process that took a campaign last, on a server; an older one may write no more."""

    __tablename__ = "campaign_holder"

    campaign: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    host: Mapped[str]
    at: Mapped[float]  # seconds since 1970, UTC


class LastWriteRow(Base):
    """The last write of a thread on a server, which asks for it where a commit's answer is lost."""

    __tablename__ = "last_write"

    token: Mapped[str] = mapped_column(primary_key=True)
    writer: Mapped[str]
    at: Mapped[float]  # seconds since 1970, UTC
