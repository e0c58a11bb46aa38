"""SQLAlchemy's ORM and Alembic's migrations, over psycopg."""
import os
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Integer, String, Text, create_engine, inspect, select
from sqlalchemy.orm import Session, declarative_base

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1))
Base = declarative_base()


class Item(Base):
    __tablename__ = "sa_items"
    id = Column(Integer, primary_key=True)
    title = Column(String(80), nullable=False)


Base.metadata.drop_all(engine)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all(Item(title=f"item {n}") for n in range(30))
    session.commit()
with Session(engine) as session:
    item = session.scalars(select(Item).where(Item.title == "item 7")).one()
    item.title = "changed"
    session.commit()
    assert session.scalars(select(Item.title).where(Item.id == item.id)).one() == "changed"
with engine.begin() as connection:
    Operations(MigrationContext.configure(connection)).add_column("sa_items", Column("body", Text))
assert {c["name"] for c in inspect(engine).get_columns("sa_items")} == {"id", "title", "body"}
Base.metadata.drop_all(engine)
print("sqlalchemy ok")
